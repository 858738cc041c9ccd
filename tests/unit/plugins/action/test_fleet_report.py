# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action plugin fleet_report, as people run it: one host that answers, and one that is not there."""

from __future__ import annotations

import json
import re
import stat
from pathlib import Path

import pytest

from ansible_collections.directdisk.qemu.plugins.plugin_utils._inventory.page import data_of
from ansible_collections.directdisk.qemu.tests.unit.ansible_run import run_playbook, write_inventory

INVENTORY = {
    "hosts.yml": """\
        all:
          children:
            hypervisors:
              hosts:
                hv1: {ansible_connection: local, ansible_python_interpreter: "{{ ansible_playbook_python }}"}
                hv2: {ansible_host: 127.0.0.1, ansible_port: 1}
              vars: {report_unmanaged: false, vault_key: c2VjcmV0LWtleQ==, vault_chap: top-secret}
        """,
    "host_vars/hv1.yml": """\
        qemu_vms:
          web1:
            disks:
              root: {rbd: {pool: vms, image: web1, key: "{{ vault_key }}", monitors: [192.0.2.1]}}
              login: {iscsi: {portal: 192.0.2.9, target: iqn.x, user: web1, password: "{{ vault_chap }}"}}
        """,
    "host_vars/hv2.yml": """\
        qemu_vms:
          web2: {disks: {root: {nbd: {host: 192.0.2.5, tls: {psk_key: "{{ vault_none }}", psk_username: web2}}}}}
          web3: {cpus: 0}
        """,
}
REPORT = "directdisk.qemu.report"


@pytest.fixture(name="folder")
def make_folder(tmp_path: Path) -> Path:
    write_inventory(tmp_path, INVENTORY)
    return tmp_path


def test_the_page_is_written_once_and_shows_hosts_that_do_not_answer(folder: Path) -> None:
    page = folder / "fleet.html"
    status, output = run_playbook(folder, REPORT, "--check", "--diff")
    assert status == 0, output
    assert '+{"host": "hv1", "vm": "web1"' in output
    assert not page.exists()
    status, output = run_playbook(folder, REPORT)
    assert status == 0, output
    assert f"{page}: 2 hosts, 2 vms, 3 disks, 1 drift" in output
    text = page.read_text()
    found = json.loads(data_of(text))
    assert [host["status"] for host in found["hosts"]] == ["answers", "unreachable"]
    assert found["hosts"][1]["errors"] == ["hv2: vm web3: cpus: 0 is less than 1"]
    assert [(vm["vm"], vm["status"], vm["drift"]) for vm in found["vms"]] == [
        ("web1", "stopped", ["not running"]),
        ("web2", "unknown", []),
    ]
    assert not re.search("c2VjcmV0LWtleQ|top-secret", text)
    assert stat.S_IMODE(page.stat().st_mode) == 0o600

    page.chmod(0o644)
    status, output = run_playbook(folder, REPORT, "--diff")
    assert re.findall(r"^hv1 .*?ok=2 +changed=0", output, re.MULTILINE), output
    assert page.read_text() == text

    status, output = run_playbook(folder, REPORT, "--diff", "-e", '{"vault_chap": "other", "ansible_port": 2}')
    assert re.findall(r"^hv1 .*?ok=2 +changed=1", output, re.MULTILINE), output
    assert '\n+{"host": "hv2", "status": "unreachable"' in output
    assert '\n {"host": "hv1", "vm": "web1"' in output
    assert stat.S_IMODE(page.stat().st_mode) == 0o644


def test_a_file_that_is_no_report_is_left_alone(folder: Path) -> None:
    hosts = folder / "inventory" / "hosts.yml"
    before = hosts.read_text()
    status, output = run_playbook(folder, REPORT, "--limit", "hv1", "-e", f"report={hosts}")
    assert status != 0
    assert f"{hosts}: is there and is no report; name another file as report" in output
    assert hosts.read_text() == before


def test_a_folder_that_is_not_there_is_named(folder: Path) -> None:
    status, output = run_playbook(folder, REPORT, "--limit", "hv1", "-e", "report=nowhere/fleet.html")
    assert status != 0
    why = "is not written, and stays as it was: No such file or directory"
    assert f"{folder}/nowhere/fleet.html: {why}; name another file as report" in output
