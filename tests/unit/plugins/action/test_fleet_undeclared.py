# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action plugin fleet_undeclared, after what role qemu_vms has observed."""

from __future__ import annotations

import json
from pathlib import Path

from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run import steps
from ansible_collections.directdisk.qemu.tests.unit.ansible_run import run_playbook, write_inventory

REPORT = {"id": "1", "starts": [], "stops": [], "in_use": {}}
BY_HAND = {"name": "db", "uuid": "", "declared": False, "runs": True, "process": "process 4711", "storage": []}
HALTED = {"web1": "io-error", "web2": "paused"}
PLAY = [{"hosts": "all", "gather_facts": False, "tasks": [{"directdisk.qemu.fleet_undeclared": {}, "run_once": True}]}]


def test_vms_that_nobody_declares_are_named_in_one_line(tmp_path: Path) -> None:
    hosts = {
        "hv1": {steps.OBSERVED: {"fleet": {**REPORT, "runs": [BY_HAND], "undeclared": []}}},
        "hv2": {steps.OBSERVED: {"fleet": {**REPORT, "runs": [], "undeclared": ["old1"], "halted": HALTED}}},
        "hv3": {},
    }
    write_inventory(tmp_path, {"hosts.yml": json.dumps({"all": {"hosts": hosts}})})
    (tmp_path / "play.yml").write_text(json.dumps(PLAY))
    status, output = run_playbook(tmp_path, "play.yml")
    assert status == 0, output
    expected = "VMs without a declaration, left alone: db on hv1 (process 4711), old1 on hv2 (stopped)"
    assert f"[WARNING]: {expected}\n" in output
    expected = "VMs that run and whose guests do not: web1 on hv2 (I/O error), web2 on hv2 (paused)"
    assert f"[WARNING]: {expected}\n" in output
