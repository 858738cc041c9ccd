# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The changes of a host."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError
from ansible_collections.directdisk.qemu.plugins.module_utils._host import apply
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.changes import Changes
from ansible_collections.directdisk.qemu.plugins.module_utils._process import locks
from ansible_collections.directdisk.qemu.plugins.module_utils._units import paths


def test_a_new_vm_is_written_enabled_and_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[tuple[str, list[str]]] = []
    monkeypatch.setattr(apply.systemd, "systemctl", lambda verb, units=(), *_options: called.append((verb, [*units])))
    for question in ("show", "states"):
        monkeypatch.setattr(
            apply.systemd,
            question,
            lambda units: {
                unit: {"active": "inactive", "enabled": False, "reload": False, "invocation": ""} for unit in units
            },
        )
    for folder in ("UNIT_DIRECTORY", "PROGRAMS", "CREDENTIALS", "ENCRYPTED_CREDENTIALS"):
        monkeypatch.setattr(paths, folder, str(tmp_path / folder))
        (tmp_path / folder).mkdir()
    unit = tmp_path / "UNIT_DIRECTORY" / "qemu-vm-web1.service"
    vm = {"unit": unit.name, "units": [unit.name], "reloaded": [], "credentials": {unit.name: []}, "staged": []}
    vm.update(state="started", autostart=True, restart="never", purge=False, start_timeout=5)
    desired: dict[str, Any] = {"files": {str(unit): {"text": "[Unit]\n", "mode": 0o644}}, "vms": {"web1": vm}}
    desired.update(images={}, baseline={"files": {str(unit): ""}, "enabled": {unit.name: False}})
    answer = apply.apply(desired, {}, encrypted=False)
    assert unit.read_text(encoding="utf-8") == "[Unit]\n"
    assert called == [
        ("enable", [unit.name, paths.TARGET]),
        ("daemon-reload", []),
        ("stop", [unit.name]),
        ("start", [unit.name]),
    ]
    assert answer["failures"] == {}
    assert "start vm web1" in answer["actions"]


def test_a_vm_that_does_not_start_is_a_failure_with_its_log(monkeypatch: pytest.MonkeyPatch) -> None:
    def systemctl(verb: str, units: Sequence[str] = (), *_options: str) -> None:
        if verb == "start":
            raise HostError("systemctl start: failed")

    monkeypatch.setattr(apply.systemd, "systemctl", systemctl)
    monkeypatch.setattr(
        apply.systemd,
        "show",
        lambda units: {unit: {"active": "failed" if "web1" in unit else "active"} for unit in units},
    )
    monkeypatch.setattr(apply.systemd, "last_log_lines", lambda units, count, after: [f"log of {', '.join(units)}"])
    vms = {
        name: {"unit": f"qemu-vm-{name}.service", "units": [f"qemu-vm-{name}.service"], "staged": []}
        for name in ("web1", "web2")
    }
    failures = apply._switch({"vms": vms}, Changes(start=["web1", "web2"]))
    assert failures == {"web1": ["log of qemu-vm-web1.service"]}


def test_a_start_that_systemd_repeats_ends_with_its_helpers_before_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A helper that still serves the storage of its former unit would be under the VM's new overlay."""
    called: list[tuple[str, list[str]]] = []
    monkeypatch.setattr(apply.systemd, "systemctl", lambda verb, units=(), *_options: called.append((verb, [*units])))
    states = {"qemu-vm-again.service": {"active": "activating"}, "qemu-vm-meanwhile.service": {"active": "active"}}
    monkeypatch.setattr(apply.systemd, "show", lambda units: {unit: states[unit] for unit in units})
    monkeypatch.setattr(paths, "UNIT_DIRECTORY", str(tmp_path))
    for name in ("again", "meanwhile"):
        (tmp_path / f"qemu-vm-{name}.root.nbdkit.service").touch()
    vms = {name: {"unit": f"qemu-vm-{name}.service", "staged": [], "units": []} for name in ("again", "meanwhile")}
    apply._switch({"vms": vms}, Changes(start=["again", "meanwhile"]))
    assert called == [("stop", ["qemu-vm-again.service", "qemu-vm-again.root.nbdkit.service"]), ("start", [*states])]


def test_a_run_that_was_overtaken_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unit = "/etc/systemd/system/qemu-vm-web1.service"
    observed = {"files": {unit: {"sha256": "new"}}, "units": {}, "credentials": {}, "paths": {}, "staged": []}
    monkeypatch.setattr(apply, "VMS_LOCK", str(tmp_path / "lock"))
    monkeypatch.setattr(apply, "observe", lambda **_: observed)
    monkeypatch.setattr(apply, "_write", lambda *_: pytest.fail("changed"))
    monkeypatch.setattr(apply, "_switch", lambda *_: pytest.fail("changed"))
    desired = {"files": {unit: {"text": "mine", "mode": 0o644}}, "vms": {}, "images": {}}
    desired["baseline"] = {"files": {unit: "old"}, "enabled": {}}
    with pytest.raises(HostError, match=f"another run has changed {unit} since this one observed"):
        apply.apply(desired, {}, encrypted=False)


def test_runs_of_a_host_have_one_lock() -> None:
    assert (apply.VMS_LOCK, locks.DISKS_LOCK) == ("/run/qemu-vms.lock", "/run/qemu-disks.lock")


def test_a_vm_that_starts_elsewhere_is_disabled_and_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[tuple[str, list[str]]] = []
    monkeypatch.setattr(apply.systemd, "systemctl", lambda verb, units=(), *_options: called.append((verb, [*units])))
    states = {"qemu-vm-a.service": {"active": "inactive"}, "qemu-vm-b.service": {"active": "deactivating"}}
    monkeypatch.setattr(apply.systemd, "show", lambda _units: states)
    monkeypatch.setattr(paths, "UNIT_DIRECTORY", str(tmp_path))
    units = ["qemu-vm-a.service", "qemu-vm-b.service"]
    assert apply.stop(["a", "b"]) == {"stopped": ["a"]}
    assert called == [("disable", units), ("stop", units)]


PLACES = ((f"{paths.UNIT_DIRECTORY}/", ""), ("/run/qemu-vms.started/", ".json"), ("/run/qemu-vms.live/", ".json"))
"""Of a unit: its file, and its records."""


def test_what_leaves_a_host_is_ended_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """A helper is stopped while systemd still knows its unit, and access is taken back once nothing uses it."""
    done: list[str] = []
    monkeypatch.setattr(apply.systemd, "systemctl", lambda verb, units=(), *_options: done.append(f"{verb} {[*units]}"))
    monkeypatch.setattr(apply.systemd, "show", lambda units: {})
    monkeypatch.setattr(apply.os, "unlink", lambda path: done.append(f"unlink {path}"))
    monkeypatch.setattr(apply.leftovers.file_access, "revoke", lambda unit: done.append(f"revoke {unit}"))
    monkeypatch.setattr(apply.leftovers, "remove_folders", lambda changes: done.append("folders"))
    helper = "qemu-vm-web1.root.nbdkit.service"
    path = f"{paths.UNIT_DIRECTORY}/{helper}"
    changes = Changes(remove_files=[path], remove_folders=["/run/qemu-vm-web1.root"])
    apply._switch({"vms": {}}, changes)
    removed = [f"unlink {one}{helper}{end}" for one, end in PLACES]
    assert done[:6] == [f"stop ['{helper}']", *removed, f"revoke {helper}", "folders"]


@pytest.mark.parametrize(("restart", "restarted", "failed"), [("when_needed", ["web1"], []), ("never", [], ["web1"])])
def test_a_vm_whose_guest_keeps_a_disk_is_restarted_if_it_may(
    monkeypatch: pytest.MonkeyPatch, restart: str, restarted: list[str], failed: list[str]
) -> None:
    changes = Changes(detach=[("web1", "data")], attach=[("web1", "more")])
    switched: list[list[str]] = []
    seen = {"files": {}, "units": {"u": {"active": "active"}}, "processes": {}}
    monkeypatch.setattr(apply, "observe", lambda **_: seen)
    monkeypatch.setattr(apply.taps, "RECORD", "/nonexistent")
    for name in ("refuse_overtaken", "_write", "_record_running"):
        monkeypatch.setattr(apply, name, lambda *_, **__: None)
    monkeypatch.setattr(apply, "decide", lambda *_: changes)
    monkeypatch.setattr(apply, "_running_on", lambda *_: {})
    monkeypatch.setattr(apply.former_storage, "remember", lambda *_: None)
    monkeypatch.setattr(apply.live, "detach", lambda *_: {"web1": ["disk data of web1: the guest keeps it"]})
    monkeypatch.setattr(apply.live, "attach", lambda *_: {})
    monkeypatch.setattr(apply.live, "change_options", lambda *_: {})
    monkeypatch.setattr(apply, "_switch", lambda desired, changes, board: switched.append(list(changes.restart)) or {})
    vms = {"web1": {"unit": "u", "restart": restart, "purge": False, "networks": {}}}
    answer = apply.apply({"vms": vms, "files": {}}, {}, encrypted=False)  # type: ignore[arg-type]
    assert (switched, list(answer["live_failures"])) == ([restarted], failed)
    assert changes.attach == []


@pytest.mark.parametrize(
    "changes", [Changes(restart=["web1"]), Changes(restart_required={"web1": ["memory has changed"]})]
)
def test_a_tap_device_that_the_next_start_does_not_know_is_remembered(
    monkeypatch: pytest.MonkeyPatch, changes: Changes
) -> None:
    """The unit that is to remove it when the VM stops has been replaced by then."""
    remembered: list[tuple[str, ...]] = []
    monkeypatch.setattr(apply.taps, "remember_kept", lambda *words: remembered.append(words))
    argv = ["qemu", *(word for name in ("lan", "wan") for word in ("-netdev", f"tap,id={name},ifname=web1.{name}"))]
    networks = {"lan": {"tap": "web1.lan"}, "out": {"tap": ""}}
    goal: Any = {"vms": {name: {"unit": "u", "networks": networks} for name in ("web1", "web2")}}
    processes = {name: {"argv": argv, "networks": {}} for name in goal["vms"]}
    apply._remember_taps(goal, {"units": {"u": {"invocation": "1"}}, "processes": processes}, changes)  # type: ignore[typeddict-item]
    assert remembered == [("web1", "web1.wan", "1")]


def test_the_former_tap_devices_of_a_restarted_vm_are_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    removed: list[Any] = []
    process = {"argv": ["qemu", "-netdev", "tap,id=wan,ifname=web1.wan"], "networks": {}}
    seen = {"files": {}, "units": {"u": {"active": "active", "invocation": "1"}}, "processes": {"web1": process}}
    monkeypatch.setattr(apply, "observe", lambda **_: seen)
    monkeypatch.setattr(apply.taps, "remove_former", removed.append)
    monkeypatch.setattr(apply.taps, "remember_kept", lambda vm, tap, start: removed.append(f"remember {tap}"))
    for name in ("refuse_overtaken", "_write", "_record_running"):
        monkeypatch.setattr(apply, name, lambda *_, **__: None)
    monkeypatch.setattr(apply, "decide", lambda *_: Changes(restart=["web1"]))
    monkeypatch.setattr(apply, "_switch", lambda *_: removed.append("switch") or {})
    monkeypatch.setattr(apply.former_storage, "remember", lambda *_: None)
    vm = {"unit": "u", "purge": False, "networks": {"lan": {"tap": "web1.lan"}, "out": {"tap": ""}}}
    apply.apply({"vms": {"web1": vm}, "files": {}}, {}, encrypted=False)  # type: ignore[typeddict-item]
    assert removed == [{"web1": ["web1.wan"]}, "remember web1.wan", "switch", {"web1": ["web1.lan"]}]
