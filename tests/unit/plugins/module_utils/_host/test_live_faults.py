# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A VM whose monitor is gone, or which ends while it is changed, is named, and the next run knows what was begun."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._host import live, live_record
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.changes import Changes
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.live_media import empty_drive
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.running_parts import Part
from ansible_collections.directdisk.qemu.tests.unit.fake_qmp import FakeQemu

STATE = {"active": "active", "invocation": "1"}
NODES = ('{"driver":"null-co","node-name":"data.storage"}', '{"driver":"raw","node-name":"data.format"}')
DEVICE = "scsi-cd,bus=machine.scsi-0.0,drive=data.format,id=data"
ANSWERS: dict[str, Any] = {"query-blockstats": [], "query-fdsets": [], "qom-list": []}
ANSWERS["x-debug-query-block-graph"] = {"nodes": [], "edges": []}


@pytest.fixture(autouse=True)
def sockets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live.paths, "qmp_socket", lambda vm: str(tmp_path / vm))
    monkeypatch.setattr(live_record, "FOLDER", str(tmp_path / "live"))


def desired(*vms: str) -> Any:
    nodes = [{"driver": "null-co", "node-name": "data.storage"}, {"driver": "raw", "node-name": "data.format"}]
    disk = {**empty_drive(Part(devices=(DEVICE,))), "nodes": nodes}
    return {"vms": {vm: {"unit": f"qemu-vm-{vm}.service", "disks": {"data": disk}, "staged": []} for vm in vms}}


def observed(*vms: str) -> Any:
    argv = ["qemu", *(word for node in NODES for word in ("-blockdev", node)), "-device", DEVICE]
    process = {"argv": argv, "disks": {}, "networks": {}, "error": ""}
    process.update(devices=["data"], nodes=["data.storage", "data.format"], media={"data": "data.format"})
    return {"units": {f"qemu-vm-{vm}.service": STATE for vm in vms}, "processes": dict.fromkeys(vms, process)}


def recorded(*vms: str) -> dict[str, Any]:
    entries = live_record.read({f"qemu-vm-{vm}.service": STATE for vm in vms})  # type: ignore[misc]
    return {unit: entry["disks"] for unit, entry in entries.items()}


def test_answers_that_are_not_those_of_qemu_are_named_and_another_vm_is_changed(tmp_path: Path) -> None:
    goal, now = desired("web1", "web2"), observed("web1", "web2")
    changes = Changes(attach=[("web1", "data"), ("web2", "data")])
    other = {**ANSWERS, "x-debug-query-block-graph": [7]}
    with FakeQemu(tmp_path / "web1", answers=other), FakeQemu(tmp_path / "web2", answers=ANSWERS) as qemu:
        failed = live.attach(goal, now, changes, {})
    assert list(failed) == ["web1"]
    assert failed["web1"][0].startswith("disk data of web1: its monitor does not answer as QEMU does (")
    assert "device_add" in qemu.heard


def test_a_monitor_that_is_gone_is_named_and_another_vm_is_changed(tmp_path: Path) -> None:
    goal, now = desired("web1", "web2"), observed("web1", "web2")
    with FakeQemu(tmp_path / "web2", answers=ANSWERS) as qemu:
        changes = Changes(attach=[("web1", "data"), ("web2", "data")])
        assert live.attach(goal, now, changes, {}) == {
            "web1": [f"disk data of web1: {tmp_path}/web1: No such file or directory"]
        }
    assert "device_add" in qemu.heard
    # Nothing was begun of the other one.
    assert set(recorded("web1", "web2")) == {"qemu-vm-web2.service"}


@pytest.mark.parametrize("command", ["blockdev-add", "device_add"])
def test_a_vm_that_ends_while_it_gets_a_disk_is_named(tmp_path: Path, command: str) -> None:
    with FakeQemu(tmp_path / "web1", answers=ANSWERS, ends_on=command):
        failed = live.attach(desired("web1"), observed("web1"), Changes(attach=[("web1", "data")]), {})
    assert failed == {"web1": ["disk data of web1: QEMU closed its monitor"]}
    # Its next start has another invocation. If it has not ended, the next run begins this disk again.
    assert recorded("web1")["qemu-vm-web1.service"]["data"]["devices"] == [DEVICE]


def test_a_vm_that_ends_while_it_gives_a_disk_back_keeps_it_in_the_record(tmp_path: Path) -> None:
    with FakeQemu(tmp_path / "web1", answers=ANSWERS, ends_on="device_del"):
        failed = live.detach(desired("web1"), observed("web1"), Changes(detach=[("web1", "data")]))
    assert failed == {"web1": ["disk data of web1: QEMU closed its monitor"]}
    assert recorded("web1") == {}


@pytest.mark.parametrize(
    ("command", "record"), [("blockdev-remove-medium", None), ("blockdev-insert-medium", "data.format")]
)
def test_a_vm_that_ends_while_its_medium_changes_is_named(tmp_path: Path, command: str, record: str | None) -> None:
    goal, now = desired("web1"), observed("web1")
    changes = Changes(eject=[("web1", "data")], insert=[("web1", "data")])
    with FakeQemu(tmp_path / "web1", answers=ANSWERS, ends_on=command):
        ejected = live.eject(goal, now, changes)
        inserted = {} if ejected else live.insert(goal, now, changes, {})
    assert {**ejected, **inserted} == {"web1": ["disk data of web1: QEMU closed its monitor"]}
    nodes = recorded("web1").get("qemu-vm-web1.service", {}).get("data", {}).get("nodes")
    assert (nodes[-1]["node-name"] if nodes else None) == record


def test_an_ejected_medium_is_recorded_as_an_empty_drive(tmp_path: Path) -> None:
    with FakeQemu(tmp_path / "web1", answers=ANSWERS):
        assert live.eject(desired("web1"), observed("web1"), Changes(eject=[("web1", "data")])) == {}
    drive = recorded("web1")["qemu-vm-web1.service"]["data"]
    assert (drive["nodes"], drive["devices"]) == ([], ["scsi-cd,bus=machine.scsi-0.0,id=data"])


@pytest.mark.parametrize(("status", "resumed"), [("paused", True), ("running", False), ("io-error", False)])
def test_a_vm_is_resumed_only_if_it_is_paused_still(tmp_path: Path, status: str, resumed: bool) -> None:
    with FakeQemu(tmp_path / "web1", answers={"query-status": {"status": status}}) as qemu:
        assert live.resume(Changes(resume=["web1"])) == {}
    assert ("cont" in qemu.heard) == resumed
