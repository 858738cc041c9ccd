# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action plugin fleet_summary, after what role qemu_vms has observed."""

from __future__ import annotations

import json
from pathlib import Path

from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run import steps
from ansible_collections.directdisk.qemu.tests.unit.ansible_run import run_playbook, write_inventory

REPORT = {"id": "1", "declared": ["web1", "web2"], "starts": [], "stops": [], "in_use": {}}
BY_HAND = {"name": "db", "uuid": "", "declared": False, "runs": True, "process": "process 4711", "storage": []}
HALTED = {"web1": "io-error", "web2": "paused"}
PLAY = [{"hosts": "all", "gather_facts": False, "tasks": [{"directdisk.qemu.fleet_summary": {}, "run_once": True}]}]


def test_the_table_is_printed_and_its_rows_are_returned(tmp_path: Path) -> None:
    web = [{**BY_HAND, "name": name, "declared": True, "process": ""} for name in HALTED]
    hosts = {
        "hv1": {steps.OBSERVED: {"fleet": {**REPORT, "runs": [BY_HAND], "undeclared": []}}},
        "hv2": {steps.OBSERVED: {"fleet": {**REPORT, "runs": web, "undeclared": ["old1"], "halted": HALTED}}},
        "hv3": {},
    }
    write_inventory(tmp_path, {"hosts.yml": json.dumps({"all": {"hosts": hosts}})})
    (tmp_path / "play.yml").write_text(json.dumps(PLAY))
    status, output = run_playbook(tmp_path, "play.yml", "-v")
    assert status == 0, output
    expected = (
        "\nHOST  VM    STATE      NOTE\n"
        "----  ----  ---------  ---------------------------\n"
        "hv1   db    running    not declared (process 4711)\n"
        "hv2   old1  stopped    not declared\n"
        "hv2   web1  I/O error  -\n"
        "hv2   web2  paused     -\n"
        "2 other VMs on 2 hosts as declared\n"
        "1 host not asked yet\n"
    )
    assert expected in output
    assert '"not_asked": 1' in output and '"vm": "old1"' in output


def test_hosts_that_failed_after_they_were_observed_are_in_the_table(tmp_path: Path) -> None:
    """As after a refusal to start VMs, which fails on all hosts."""
    hosts = {
        name: {steps.OBSERVED: {"fleet": {**REPORT, "runs": [], "undeclared": [f"old-{name}"]}}}
        for name in ("hv1", "hv2")
    }
    refused = {"ansible.builtin.fail": {"msg": "refused"}, "run_once": True}
    play = {**PLAY[0], "tasks": [{"block": [refused], "always": PLAY[0]["tasks"]}]}
    write_inventory(tmp_path, {"hosts.yml": json.dumps({"all": {"hosts": hosts}})})
    (tmp_path / "play.yml").write_text(json.dumps([play]))
    status, output = run_playbook(tmp_path, "play.yml")
    assert status != 0
    assert "hv1   old-hv1" in output and "hv2   old-hv2" in output
