# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action plugin fleet_plan, as people run it by playbooks/plan.yml, with each of the mistakes made once."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.directdisk.qemu.tests.unit.ansible_run import run_playbook, write_inventory

# Whoever asks one of these hosts fails for want of a way there.
INVENTORY = {
    "hosts.yml": "all: {children: {hypervisors: {hosts: {hv1: , hv2: }, vars: {vault_key: c2VjcmV0LWtleQ==}}, "
    "others: {hosts: {web: }}, unreachable: {children: {hypervisors: , others: }, vars: {ansible_connection: none}}}}",
    "host_vars/hv1.yml": """\
        storage: 192.0.2.5
        vault_chap: top-secret
        qemu_vms:
          web1:
            disks:
              root: {rbd: {pool: vms, image: web1, key: "{{ vault_key }}", monitors: [192.0.2.1]}, size: 200GiB}
              data: {nbd: {host: "{{ storage }}", export: data}}
              login: {iscsi: {portal: 192.0.2.9, target: iqn.x, user: web1, password: "{{ vault_chap }}"}}
            networks: {lan: {bridge: br0, mac: "52:54:00:12:34:56"}}
            vnc: {address: 127.0.0.1, port: 5901}
          clone:
            disks:
              root:
                rbd: {pool: vms, image: clone, key: "{{ vault_key }}", monitors: [192.0.2.1]}
                source: {rbd: {pool: images, image: debian, snapshot: s, conf: /etc/ceph/ceph.conf}}
                size: 1GiB
        """,
    "host_vars/hv2.yml": """\
        qemu_vms:
          web1: {disks: {root: {nfs: {host: nas, path: /x/a, key: 1}}}}
          web2:
            cpus: 0
          web3:
            disks:
              root: {iscsi: {portal: 192.0.2.9, target: iqn.y, user: web3, password: "{{ vault_none }}"}}
              data: {uri: "nbd://192.0.2.5:10809/data"}
            networks: {lan: {bridge: br0, mac: "52:54:00:12:34:56"}}
          clone: {}
        """,
}

ERRORS = """\
hv2: disk root of web1: nfs: unknown option 'key' (there are: debug, gid, group, host, page_cache_size, pagecache, \
path, readahead, readahead_size, syncnt, tcp_syn_count, tcp_syncnt, uid, user)
hv2: vm web2: cpus: 0 is less than 1
hv2: disk root of web3: iscsi: password: 'vault_none' is undefined
hv2: disk data of web3: is the same storage as hv1: disk data of web1, and one of them writes to it \
(nbd 192.0.2.5:10809/data)
hv2: network lan of web3: has the mac 52:54:00:12:34:56 of hv1: network lan of web1 on a bridge of the same name, br0; \
give one of them another mac"""

WARNINGS = (
    "hv2: vm clone: is also declared on hv1, and both have the same UUID; "
    "to move a VM, set state: absent on the host that it leaves",
    "hv1: disk root of clone: source: rbd images/debian@s is not declared; "
    "if it exists nevertheless, add it to plan_known_images",
)


@pytest.fixture(name="folder")
def make_folder(tmp_path: Path) -> Path:
    write_inventory(tmp_path, INVENTORY)
    return tmp_path


def run_plan(folder: Path, *arguments: str, playbook: str = "directdisk.qemu.plan") -> tuple[int, str]:
    return run_playbook(folder, playbook, *arguments)


def test_every_mistake_is_named_and_nothing_secret_is_shown(folder: Path) -> None:
    status, output = run_plan(folder)
    assert status != 0
    assert f"\nERRORS\n------\n{ERRORS}\n" in output
    assert '"msg": "errors in the declarations, listed above: 5"' in output
    unwrapped = " ".join(output.split())  # ansible-core before 2.19 breaks warnings into lines
    for warning in WARNINGS:
        assert f"[WARNING]: {warning}" in unwrapped
    assert "hv1   web1   started  root   rbd      vms/web1" in output
    assert "c2VjcmV0LWtleQ" not in output
    assert "top-secret" not in output


def test_what_is_meant_so_is_not_complained_of(folder: Path) -> None:
    known = {"plan_known_images": ["rbd images/*"]}
    status, output = run_plan(folder, "-e", "qemu_vms_hosts=hv1", "-e", json.dumps(known))
    assert status == 0, output
    assert "WARNING" not in output
    assert "rbd vms 2 2 201 GiB" in " ".join(output.split())


def test_rows_and_errors_are_returned_whether_they_fail_the_task_or_not(folder: Path) -> None:
    hosts = {"hosts": ["hv1", "hv2"]}
    checks = {"lax": {**hosts, "strict": False}, "strict": hosts, "wrong": {**hosts, "known_images": 5}}
    numbers = "{{ %s.errors | length }} errors, {{ %s.rows | length }} disks, failed: {{ %s is failed }}"
    tasks: list[dict[str, Any]] = [
        {"directdisk.qemu.fleet_plan": options, "register": name, "ignore_errors": True}
        for name, options in checks.items()
    ]
    said = [f"{name}: {numbers % (name, name, name)}" for name in ("lax", "strict")]
    tasks.append({"ansible.builtin.debug": {"msg": [*said, "{{ wrong.msg }}"]}})
    (folder / "own.yml").write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]))
    status, output = run_plan(folder, playbook="own.yml")
    assert status == 0, output
    assert "lax: 5 errors, 6 disks, failed: False" in output
    assert "strict: 5 errors, 6 disks, failed: True" in output
    assert '"known_images (plan_known_images): is not a list of patterns"' in output


def test_no_host_is_asked(folder: Path) -> None:
    status, output = run_plan(folder, "-e", "qemu_vms_hosts=hv1")
    assert status == 0, output
    assert re.findall(r"^(\S+) +: ok=", output, re.MULTILINE) == ["localhost"]
    (folder / "asked.yml").write_text("- {hosts: hv1, gather_facts: false, tasks: [{ansible.builtin.ping: }]}")
    status, output = run_plan(folder, playbook="asked.yml")
    assert status != 0, output


@pytest.mark.parametrize(
    "query",
    [
        'plan_query="[?backend == `rbd` && size > `107374182400`]"',
        json.dumps({"plan_query": "[?backend == 'rbd' && size > `107374182400`]"}),
    ],
)
def test_a_query_takes_the_place_of_the_table(folder: Path, query: str) -> None:
    status, output = run_plan(folder, "-e", "qemu_vms_hosts=hv1", "-e", query)
    assert status == 0, output
    assert "hv1   web1  started  root  rbd      vms/web1  raw     200 GiB" in output
    assert "clone  started" not in output


def test_a_query_that_cannot_be_read_is_an_error(folder: Path) -> None:
    status, output = run_plan(folder, "-e", "plan_query=[?backend==")
    assert status != 0
    assert "query (plan_query): [?backend==: Invalid jmespath expression" in output
