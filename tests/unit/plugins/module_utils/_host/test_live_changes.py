# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Live changes of a run: their order, their record, and what becomes of those that fail."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError
from ansible_collections.directdisk.qemu.plugins.module_utils._host import apply, former_storage, live, live_record
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.changes import Changes
from ansible_collections.directdisk.qemu.plugins.module_utils._programs import unit_record
from ansible_collections.directdisk.qemu.plugins.module_utils._units import unit_text

STATE = {"active": "active", "invocation": "1"}
DISK = {"objects": [], "nodes": [{"node-name": "data.storage"}], "devices": ["x,id=data"], "helpers": []}


class Monitor:
    """A test double of QEMU's monitor, which only has to be opened and closed."""

    @classmethod
    def connect(cls, path: str, seconds: float) -> Monitor:
        return cls()

    def __enter__(self) -> Monitor:
        return self

    def __exit__(self, *_: object) -> None:
        pass


@pytest.fixture
def done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is done on a host, in its order."""
    calls: list[str] = []
    monkeypatch.setattr(live, "Monitor", Monitor)
    monkeypatch.setattr(live_record, "FOLDER", str(tmp_path / "live"))
    monkeypatch.setattr(live.systemd, "systemctl", lambda verb, units=(), *_: calls.append(f"{verb} {[*units]}"))
    monkeypatch.setattr(live.systemd, "last_log_lines", lambda units, count: ["why"])

    def attach(_monitor: Any, name: str, _disk: Any, _secrets: Any, record: Callable[[dict[str, str]], None]) -> None:
        record({"/srv/data.img": "/dev/fdset/0"})
        calls.append(f"attach {name}")

    monkeypatch.setattr(live.live_disks, "attach", attach)
    monkeypatch.setattr(live.live_disks, "detach", lambda monitor, name, part: calls.append(f"detach {name}"))
    monkeypatch.setattr(live.live_disks, "unplug", lambda monitor, device, seconds: calls.append(f"unplug {device}"))
    return calls


def desired(*units: str, **disks: Any) -> Any:
    vms = {
        name: {"unit": f"qemu-vm-{name}.service", "disks": {"data": {**DISK, **disks}}, "staged": []} for name in units
    }
    return {"vms": vms, "files": {f"/etc/systemd/system/qemu-vm-{name}.service": {"text": ""} for name in units}}


def observed(*names: str) -> Any:
    blockdev = '{"driver":"file","node-name":"data.storage"}'
    process = {"argv": ["qemu", "-blockdev", blockdev, "-device", "x,id=data"], "disks": {}, "networks": {}}
    process.update(devices=["data"], nodes=["data.storage"], error="")
    units = {f"qemu-vm-{name}.service": STATE for name in names}
    return {"units": units, "processes": dict.fromkeys(names, process)}


def recorded(*names: str) -> Any:
    entries = live_record.read({f"qemu-vm-{name}.service": STATE for name in names})  # type: ignore[misc]
    return {unit: entry["disks"] for unit, entry in entries.items()}


def test_a_disk_is_attached_once_its_helper_runs(done: list[str]) -> None:
    goal = desired("web1", helpers=["qemu-vm-web1.data.tgt.service"])
    assert live.attach(goal, observed("web1"), Changes(attach=[("web1", "data")]), {}) == {}
    assert done == [
        "start ['qemu-vm-web1.data.tgt.service']",
        "attach data",
    ]
    disk = recorded("web1")["qemu-vm-web1.service"]["data"]
    assert (disk["devices"], disk["passed"]) == (DISK["devices"], {"/srv/data.img": "/dev/fdset/0"})


def test_a_detached_disk_leaves_no_overlay_whose_writes_are_discarded(
    done: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "discarded_path", lambda vm, disk: str(tmp_path / f"{vm}.{disk}.qcow2"))
    path = tmp_path / "web1.data.qcow2"
    path.touch()
    assert live.detach(desired("web1"), observed("web1"), Changes(detach=[("web1", "data")])) == {}
    assert (done, path.exists()) == (["detach data"], False)


@pytest.mark.parametrize("take", [live.detach, live.eject])
def test_a_vm_cannot_open_the_files_of_a_former_disk_again(
    done: list[str], take: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    revoked: list[tuple[str, set[str]]] = []
    monkeypatch.setattr(live.file_access, "revoke_paths", lambda unit, files: revoked.append((unit, files)))
    monkeypatch.setattr(live.live_media, "eject", lambda *_: None)
    argv = ["qemu"]
    for name, path in (("data.storage", "/srv/a"), ("data.format", "/srv/shared"), ("root.storage", "/srv/shared")):
        argv += ["-blockdev", f'{{"driver":"file","node-name":"{name}","filename":"{path}"}}']
    argv += ["-device", "scsi-cd,id=data,drive=data.format", "-device", "x,id=root,drive=root.storage"]
    argv += ["-blockdev", '{"driver":"raw","node-name":"data.raw","file":"data.storage"}']
    seen = observed("web1")
    nodes = ["data.storage", "data.format", "data.raw", "root.storage"]
    seen["processes"]["web1"].update(argv=argv, nodes=nodes, devices=["data", "root"])
    assert take(desired("web1"), seen, Changes(detach=[("web1", "data")], eject=[("web1", "data")])) == {}
    assert revoked == [("qemu-vm-web1.service", {"/srv/a"})]


def test_a_controller_is_unplugged_after_its_disks_and_not_with_one_that_the_guest_keeps(
    done: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = Changes(detach=[("web1", "data")], controllers=[("web1", "machine.scsi-0")])
    assert live.detach(desired("web1"), observed("web1"), changes) == {}
    assert done == ["detach data", "unplug machine.scsi-0"]
    done.clear()

    def kept(*_: object) -> None:
        raise HostError("kept")

    monkeypatch.setattr(live.live_disks, "detach", kept)
    assert live.detach(desired("web1"), observed("web1"), changes) == {"web1": ["disk data of web1: kept"]}
    assert done == []


def test_a_disk_is_recorded_before_it_is_attached(done: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(live.live_disks, "attach", killed)
    with pytest.raises(KeyboardInterrupt):
        live.attach(desired("web1"), observed("web1"), Changes(attach=[("web1", "data")]), {})
    assert set(recorded("web1")["qemu-vm-web1.service"]) == {"data"}


def test_a_helper_that_does_not_start_is_named_with_its_log(done: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def systemctl(verb: str, units: Any = (), *_: str) -> None:
        if verb == "start":
            raise HostError("systemctl start: failed")

    monkeypatch.setattr(live.systemd, "systemctl", systemctl)
    failed = live.attach(
        desired("web1", helpers=["x.service"]), observed("web1"), Changes(attach=[("web1", "data")]), {}
    )
    assert failed == {"web1": ["disk data of web1: systemctl start: failed\n  its log:\n    why"]}


def test_what_a_guest_has_given_back_is_among_the_actions_whatever_it_keeps(
    done: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def kept(*_: object) -> None:
        raise HostError("kept")

    monkeypatch.setattr(live.live_disks, "unplug", kept)
    device: Any = {"id": "hand", "driver": "e1000", "nodes": [], "netdev": ""}
    changes = Changes(
        detach=[("web1", "data")],
        controllers=[("web1", "machine.scsi-0")],
        attach=[("web1", "new")],
        unplug_undeclared={"web1": [device]},
    )
    assert list(live.unplug_undeclared(changes)) == ["web1"]
    assert list(live.detach(desired("web1"), observed("web1"), changes)) == ["web1"]
    changes.keep_devices("web1")
    assert changes.actions() == ["detach disk data of web1"]


def test_one_vm_that_fails_does_not_stop_the_others(done: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def detach(monitor: object, name: str, part: Any) -> None:
        if name == "data" and not done:
            done.append("refused")
            raise HostError("the guest refuses")

    monkeypatch.setattr(live.live_disks, "detach", detach)
    monkeypatch.setattr(live, "_WORKERS", 1)
    changes = Changes(detach=[("web1", "data"), ("web2", "data")])
    assert live.detach(desired("web1", "web2"), observed("web1", "web2"), changes) == {
        "web1": ["disk data of web1: the guest refuses"]
    }
    assert recorded("web1", "web2") == {"qemu-vm-web2.service": {"data": None}}


def test_a_record_of_an_earlier_start_does_not_count(done: list[str]) -> None:
    live_record.remember("qemu-vm-web1.service", {"qemu-vm-web1.service": STATE}, "data", None)  # type: ignore[dict-item]
    later = {"qemu-vm-web1.service": {**STATE, "invocation": "2"}}
    assert live_record.read(later) == {}  # type: ignore[arg-type]


def test_a_change_of_a_vm_writes_the_record_of_no_other(done: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    states: Any = {f"qemu-vm-web{number}.service": STATE for number in (1, 2)}
    written: list[str] = []
    write = live_record.host_files.write_atomically

    def note(path: str, content: str, *, mode: int) -> None:
        written.append(content)
        write(path, content, mode=mode)

    monkeypatch.setattr(live_record.host_files, "write_atomically", note)
    live_record.remember("qemu-vm-web1.service", states, "data", None)
    live_record.remember("qemu-vm-web2.service", states, "more", None)
    live_record.remember("qemu-vm-web2.service", states, "last", None)
    assert ["data" in content for content in written] == [True, False, False]
    assert recorded("web1", "web2") == {
        "qemu-vm-web1.service": {"data": None},
        "qemu-vm-web2.service": {"more": None, "last": None},
    }
    assert os.stat(live_record.FOLDER).st_mode & 0o777 == 0o700


def test_storage_of_a_disk_that_a_guest_keeps_is_not_opened_by_another_vm() -> None:
    unit = "/etc/systemd/system/qemu-vm-{}.service"
    texts = {name: unit_text.opened_line({"nfs:a": True}) for name in ("web2", "web3")}
    # Two that only read may have it open at once.
    texts.update(web1=unit_text.opened_line({}), web4=unit_text.opened_line({"nfs:b": True, "nfs:iso": False}))
    goal: Any = {
        "vms": {name: {"unit": f"qemu-vm-{name}.service"} for name in texts},
        "files": {unit.format(name): {"text": text} for name, text in texts.items()},
    }
    seen: Any = {"files": {unit.format("web1"): {"opened": {"nfs:a": True, "nfs:iso": False}}}}
    changes = Changes(start=["web2", "web4"], attach=[("web3", "data")], write_files=list(goal["files"]))
    refused = apply._refuse_kept_storage(goal, seen, changes, ["web1"])
    assert refused == {name: [f"vm {name}: is left as it is: web1 still has nfs:a open"] for name in ("web2", "web3")}
    assert (changes.start, changes.attach) == (["web4"], [])
    assert changes.write_files == [unit.format(name) for name in ("web1", "web4")]
    assert list(changes.restart_required) == ["web1"]


def test_a_vm_that_is_as_its_unit_says_is_recorded_so(monkeypatch: pytest.MonkeyPatch) -> None:
    updated: list[tuple[str, bool]] = []
    forgotten: list[str] = []
    monkeypatch.setattr(
        unit_record, "update", lambda unit, invocation, complete, renewed: updated.append((unit[8:12], complete))
    )
    monkeypatch.setattr(former_storage, "forget", lambda unit: forgotten.append(unit[8:12]))
    names = ("web1", "web2", "web3", "web4", "web5")
    goal = desired(*names)
    changes = Changes(
        attach=[(name, "data") for name in names[:4]], restart_required={"web2": ["memory has changed"]}, start=["web4"]
    )
    apply._record_running(goal, observed(*names), changes, unfinished=["web3"])
    assert updated == [("web1", True), ("web2", False), ("web3", False)]
    assert forgotten == ["web1"]
