# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""VMs that are made again from their sources, by name."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.plugins.action import ActionBase

from ansible_collections.directdisk.qemu.plugins.action.qemu_vms import display
from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run import steps
from ansible_collections.directdisk.qemu.tests.unit.plugins.action.test_qemu_vms_action import Host, run
from ansible_collections.directdisk.qemu.tests.unit.plugins.action.test_qemu_vms_steps import Fleet
from ansible_collections.directdisk.qemu.tests.unit.support import empty_host


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(display, "warning", lambda _text: None)
    monkeypatch.setattr(ActionBase, "run", lambda self, tmp=None, task_vars=None: {})


def vm(name: str, **settings: Any) -> dict[str, Any]:
    golden = {"https": {"url": "https://192.0.2.7/golden.qcow2"}, "format": "qcow2"}
    rbd = {"pool": "vms", "key": "c2VjcmV0LWtleQ==", "monitors": ["192.0.2.1"]}
    return {
        "disks": {
            "root": {"rbd": {**rbd, "image": f"{name}-root"}, "source": golden, **settings.pop("root", {})},
            "data": {"rbd": {**rbd, "image": f"{name}-data"}, "size": "1GiB"},
            "tools": {"rbd": {**rbd, "image": f"{name}-tools"}, "source": golden, "writes": "deny"},
        },
        **settings,
    }


VMS: dict[str, Any] = {"web1": vm("web1"), "web2": vm("web2")}
REMOVED = {"root of web1": {"changed": True, "actions": ["DESTROYS DATA: remove rbd vms/web1-root"]}}
CREATED = "create rbd vms/web1-root, a copy of https https://192.0.2.7/golden.qcow2"


def host_with(vms: Any = None, **disks: Any) -> Host:
    """A host on which all runs as declared."""
    host = Host(empty_host())
    run(host, vms or VMS)
    assert host.seen["observed"]["units"]
    host.calls.clear()
    host.kept.clear()
    host.disks = disks or REMOVED
    return host


def test_check_mode_shows_the_destruction_and_changes_nothing() -> None:
    host = host_with()
    result = run(host, VMS, recreate="web1", check=True, diff=True)
    assert (
        result["actions"]
        == [
            "stop vm web1",
            "disk root of web1: DESTROYS DATA: remove rbd vms/web1-root",
            f"disk root of web1: {CREATED}",
            "enable vm web1",
            "start vm web1",
            "reload systemd",
        ][: len(result["actions"])]
    )
    shown = "".join(part["prepared"] for part in result["diff"])
    assert shown.startswith("stop vm web1\ndisk root of web1: DESTROYS DATA: remove rbd vms/web1-root")
    assert [list(call["vms"]) for call in host.calls] == [["observe"]]
    assert [predict for predict, _disks in host.kept] == [True, True]
    observed, removals = (disks for _predict, disks in host.kept)
    assert list(removals) == ["root of web1"]
    assert (removals["root of web1"]["state"], removals["root of web1"]["closing"]) == ("absent", "web1")
    assert {"data of web1", "tools of web1", "root of web2"} < set(observed)


def test_the_vm_is_stopped_before_its_disks_are_removed_and_started_once_they_are_made() -> None:
    host = host_with()
    result = run(host, VMS, recreate=["web1"])
    assert [list(call["vms"]) for call in host.calls] == [["observe"], ["stop"], ["desired", "encrypted", "wait"]]
    assert host.calls[1]["vms"]["stop"] == ["web1"]
    (_predicted, _others), (_predicts, _removals), (remove, removed), (create, created) = host.kept
    assert (remove, create) == (False, False)
    assert removed["root of web1"]["state"] == "absent"
    assert "closing" not in removed["root of web1"]
    assert list(created) == ["root of web1"]
    assert created["root of web1"].get("state", "present") == "present"
    # Otherwise the module would refuse the plan: the stop has disabled the unit.
    assert host.calls[2]["vms"]["desired"]["baseline"]["enabled"]["qemu-vm-web1.service"] is False
    assert result["actions"][0] == "stop vm web1"


def test_a_vm_that_does_not_run_is_not_stopped_and_an_interrupted_run_is_finished() -> None:
    host = host_with(**{"root of web1": {"changed": False, "actions": []}})
    host.seen["observed"]["units"]["qemu-vm-web1.service"].update(active="inactive", enabled=False)
    predicted = run(host, VMS, recreate="web1", check=True)
    assert f"disk root of web1: {CREATED}" in predicted["actions"]
    assert "closing" not in host.kept[1][1]["root of web1"]
    run(host, VMS, recreate="web1")
    assert "stop" not in [word for call in host.calls for word in call["vms"]]
    # A run without the option finds the same: no disk, and a VM that is to run.
    assert "start vm web1" in run(host_stopped(), VMS, check=True)["actions"]


def host_stopped() -> Host:
    host = host_with()
    host.seen["observed"]["units"]["qemu-vm-web1.service"].update(active="inactive", enabled=False)
    return host


@pytest.mark.parametrize("name", ["web*", "web?", "[w]eb1", "web1,*"])
def test_a_pattern_is_refused(name: str) -> None:
    host = host_with()
    assert "is not the name of a VM" in run(host, VMS, recreate=name)["msg"]
    assert not host.calls


def test_what_cannot_be_made_again_is_refused_before_anything_changes() -> None:
    nbd = {"disks": {"root": {"nbd": {"host": "192.0.2.5"}, "source": VMS["web1"]["disks"]["root"]["source"]}}}
    cases = {
        "qemu_vms_recreate: web9: no VM of hv1 has such a name": VMS,
        "vm web9: has no disk with source and writes: keep": {"web9": {"disks": {"a": {"nbd": {"host": "a"}}}}},
        "disk root of web9: its image has a source and the guest's writes are in an overlay": {
            "web9": vm("web9", root={"writes": "overlay"})
        },
        "vm web9: is declared absent": {"web9": {**vm("web9"), "state": "absent"}},
        "disk root of web9: state: absent: only its server or host can remove a nbd disk": {"web9": nbd},
    }
    for message, vms in cases.items():
        host = Host(empty_host())
        assert message in run(host, vms, recreate="web9")["msg"]
        assert [list(call["vms"]) for call in host.calls] == [["observe"]]
        assert all(predict for predict, _disks in host.kept)


def test_a_disk_that_somebody_else_has_open_is_refused_in_check_mode_too() -> None:
    refusal = {"failed": True, "refused": True, "msg": "disk root of web1: rbd vms/web1-root is not removed: 10.0.0.9"}
    host = host_with(**{"root of web1": refusal})
    for check in (True, False):
        assert "is not removed: 10.0.0.9" in run(host, VMS, recreate="web1", check=check)["msg"]
    assert [list(call["vms"]) for call in host.calls] == [["observe"], ["observe"]]


def test_force_of_the_declaration_does_not_remove_what_others_have_open() -> None:
    forced = {"web1": vm("web1", root={"provision": {"force": True, "with_snapshots": True}})}
    host = host_with(forced)
    run(host, forced, recreate="web1")
    entries = [disks["root of web1"] for _predict, disks in host.kept if "root of web1" in disks]
    removals = [entry["provision"] for entry in entries if entry.get("state") == "absent"]
    assert removals == [{"with_snapshots": True}] * 2


def test_a_disk_that_could_not_be_removed_starts_again_with_its_vm() -> None:
    held = {"done": {"failed": True, "changed": False, "msg": "disk root of web1: a client has it open"}}
    host = host_with(**{"root of web1": {**REMOVED["root of web1"], **held}})
    result = run(host, VMS, recreate="web1")
    assert (result["failed"], result["failures"]) == (True, ["web1"])
    assert "hv1: disk root of web1: a client has it open" in result["msg"]


def test_a_vm_that_does_not_stop_keeps_its_disks() -> None:
    host = host_with()
    host.failures = {"web1": []}
    result = run(host, VMS, recreate="web1")
    assert result["msg"] == "hv1: vm web1: does not stop, so it is not made again"
    assert [predict for predict, _disks in host.kept] == [True, True]


def test_a_vm_is_named_on_the_host_that_declares_it() -> None:
    fleet = Fleet(hv1={"web1": vm("web1")}, hv2={"web2": vm("web2")})
    for host in fleet.hosts.values():
        host.disks = REMOVED
    assert not fleet.look(recreate="web1").get("failed")
    result = fleet.changes("hv1", recreate="web1")
    assert result["actions"][0] == "disk root of web1: DESTROYS DATA: remove rbd vms/web1-root"
    assert fleet.hostvars["hv2"][steps.OBSERVED]["due"] is True
    assert "web9: no VM of hv1, hv2" in fleet.look(recreate="web9")["msg"]
