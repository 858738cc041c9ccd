# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""VMs that are removed with what they wrote, and VMs that left the inventory."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.plugins.action import ActionBase

from ansible_collections.directdisk.qemu.plugins.action.qemu_vms import display
from ansible_collections.directdisk.qemu.plugins.module_utils._host import apply
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.changes import Changes
from ansible_collections.directdisk.qemu.tests.unit.plugins.action.test_qemu_vms_action import Host, run
from ansible_collections.directdisk.qemu.tests.unit.plugins.action.test_qemu_vms_only import VMS, running, vm

OVERLAY = "/var/lib/private/qemu-vm-web1/root-12345678.qcow2"


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(display, "warning", lambda _text: None)
    monkeypatch.setattr(ActionBase, "run", lambda self, tmp=None, task_vars=None: {})


def with_files() -> Host:
    host = running()
    host.seen["observed"]["written"] = {"web1": [OVERLAY]}
    return host


def test_check_mode_lists_the_files_that_a_purge_would_remove() -> None:
    purged = {**VMS, "web1": {"state": "absent", "purge": True}}
    host = with_files()
    result = run(host, purged, check=True, diff=True)
    assert result["actions"][:2] == [f"DESTROYS DATA: remove {OVERLAY}", "stop vm web1"]
    assert f"DESTROYS DATA: remove {OVERLAY}\n" in result["diff"][-1]["prepared"]
    assert [list(call["vms"]) for call in host.calls] == [["observe"]]
    assert host.calls[0]["vms"]["observe"]["purged"] == ["web1"]


def test_files_stay_without_purge() -> None:
    result = run(with_files(), {**VMS, "web1": {"state": "absent"}}, check=True)
    assert not [line for line in result["actions"] if "DESTROYS" in line]
    assert "stop vm web1" in result["actions"]


def test_only_an_absent_vm_may_be_purged() -> None:
    host = with_files()
    assert "requires state: absent" in run(host, {**VMS, "web1": vm(1, purge=True)})["msg"]
    assert not host.calls


def test_the_files_of_a_vm_that_has_not_stopped_are_not_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    purged: list[list[str]] = []
    monkeypatch.setattr(apply.leftovers, "purge", purged.append)
    states = {"qemu-vm-a.service": {"active": "deactivating"}, "qemu-vm-b.service": {"active": "inactive"}}
    monkeypatch.setattr(apply.systemd, "show", lambda units: {unit: states[unit] for unit in units})
    desired: Any = {"vms": {name: {"unit": f"qemu-vm-{name}.service"} for name in "ab"}}
    failures = apply._purge(desired, Changes(purge={"a": ["/a"], "b": ["/b"]}))
    assert purged == [["b"]]
    assert failures == {"a": ["vm a: has not stopped, so its files were not removed"]}


def test_vms_that_left_the_inventory_are_removed_only_if_that_is_asked_for() -> None:
    host = running()
    rest = {"web1": vm(1)}
    assert run(host, rest, check=True)["actions"] == []
    result = run(host, rest, prune="true", check=True)
    assert result["actions"][:4] == ["stop vm db1", "stop vm db2", "disable vm db1", "disable vm db2"]
    assert result["undeclared"] == []
    assert not [line for line in result["actions"] if "web1" in line or "DESTROYS" in line or "image" in line]
    run(host, rest, prune=True)
    desired = host.calls[-1]["vms"]["desired"]["vms"]
    assert {name: (one["state"], one["purge"]) for name, one in desired.items() if name != "web1"} == {
        "db1": ("absent", False),
        "db2": ("absent", False),
    }
    assert host.kept == []


def test_one_of_those_that_left_the_inventory_may_be_named() -> None:
    result = run(running(), {"web1": vm(1)}, prune=True, only_vms="db2", check=True)
    assert [line for line in result["actions"] if line.startswith("stop")] == ["stop vm db2"]
    assert result["undeclared"] == []


def test_a_host_without_any_declaration_is_not_emptied() -> None:
    host = running()
    assert run(host, {}, prune=True)["msg"].startswith("hv1: declares no VM, so that qemu_vms_prune would remove all")
    assert [list(call["vms"]) for call in host.calls] == [["observe"]]
