# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a VM has open is what it was started with, whatever its unit says by now."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.identities import spellings
from ansible_collections.directdisk.qemu.plugins.module_utils._host import (
    apply,
    former_storage,
    observe,
    storage_users,
    systemd,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.changes import digest
from ansible_collections.directdisk.qemu.plugins.module_utils._units import paths
from ansible_collections.directdisk.qemu.plugins.module_utils._units.unit_text import opened_line, spellings_lines
from ansible_collections.directdisk.qemu.tests.unit.real_parts import disk

UNIT = "qemu-vm-web1.service"
OLD, NEW, NEWER = "path:/srv/old", "path:/srv/new", "path:/srv/newer"


@pytest.fixture(autouse=True)
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "run" / "opened.json"
    path.parent.mkdir()
    monkeypatch.setattr(former_storage, "RECORD", str(path))
    monkeypatch.setattr(paths, "UNIT_DIRECTORY", str(tmp_path))
    return path


def states(invocation: str = "1", active: str = "active") -> dict[str, dict[str, Any]]:
    return {UNIT: {"active": active, "enabled": True, "reload": False, "invocation": invocation}}


def unit_text(identity: str) -> str:
    return f"{opened_line({identity: True})}\n"


def opened_now(opened: former_storage.Opened, now: Any) -> dict[str, dict[str, bool]]:
    return former_storage.opened_now(opened, now, former_storage.read())


def open_of(identity: str) -> list[str]:
    return storage_users.vms_that_open(disk(file={"path": identity.partition(":")[2]}))


def test_a_vm_has_open_what_it_was_started_with_and_what_its_unit_says() -> None:
    former_storage.remember({UNIT: {OLD: True}}, states(), {})
    assert opened_now({UNIT: {NEW: False}}, states()) == {UNIT: {OLD: True, NEW: False}}
    assert opened_now({UNIT: {OLD: False}}, states()) == {UNIT: {OLD: True}}
    for now in (states("2"), states(active="inactive"), states(active="failed")):
        assert opened_now({UNIT: {NEW: True}}, now) == {UNIT: {NEW: True}}


def test_a_unit_that_was_never_started_has_opened_nothing(record: Path) -> None:
    former_storage.remember({UNIT: {OLD: True}}, states(), {})
    former_storage.remember({UNIT: {OLD: True, NEW: True}}, states(), {})
    assert opened_now({UNIT: {NEWER: True}}, states()) == {UNIT: {OLD: True, NEWER: True}}
    former_storage.remember({UNIT: {NEWER: True}}, states("2"), {})
    assert opened_now({UNIT: {}}, states("2")) == {UNIT: {NEWER: True}}
    assert record.stat().st_mode & 0o777 == 0o600
    former_storage.remember({}, {}, {})
    assert not record.exists()
    former_storage.remember({UNIT: {OLD: True}}, states(active="inactive"), {})
    assert not record.exists()


def test_a_vm_that_has_given_back_its_former_storage_has_only_that_of_its_unit() -> None:
    former_storage.remember({UNIT: {OLD: True}}, states(), {})
    former_storage.forget(UNIT)
    assert opened_now({UNIT: {NEW: True}}, states()) == {UNIT: {NEW: True}}
    former_storage.forget(UNIT)


def answer_with(monkeypatch: pytest.MonkeyPatch, known: Any) -> None:
    for question in ("show", "states"):
        monkeypatch.setattr(systemd, question, lambda _units: known)


def test_a_host_is_observed_with_what_its_vms_still_have_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer_with(monkeypatch, states())
    (tmp_path / UNIT).write_text(unit_text(NEW))
    former_storage.remember({UNIT: {OLD: True}}, states(), {})
    seen = observe.observe(vms=[], paths=[], secrets={}, encrypted=False, processes=False)
    assert seen["files"][str(tmp_path / UNIT)]["opened"] == {NEW: True, OLD: True}
    assert open_of(OLD) == open_of(NEW) == ["web1"]
    assert open_of(NEWER) == []


def test_a_run_writes_down_what_a_vm_has_open_before_it_replaces_its_unit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer_with(monkeypatch, states())
    monkeypatch.setattr(apply, "_switch", lambda *_: {})
    (tmp_path / UNIT).write_text(unit_text(OLD))
    monkeypatch.setattr(apply, "_write", lambda *_: (tmp_path / UNIT).write_text(unit_text(NEW)))
    desired: dict[str, Any] = {"files": {str(tmp_path / UNIT): {"text": unit_text(NEW), "mode": 0o644}}, "vms": {}}
    desired["baseline"] = {"files": {str(tmp_path / UNIT): digest(unit_text(OLD))}, "enabled": {}}
    apply.apply(desired, {}, encrypted=False)
    assert open_of(OLD) == open_of(NEW) == ["web1"]


BY_NAME, BY_ADDRESS = disk(nfs={"host": "storage.lan", "path": "/a"}), disk(nfs={"host": "192.0.2.9", "path": "/a"})
OTHER = disk(nfs={"host": "192.0.2.9", "path": "/b"})


@pytest.mark.parametrize("former", [True, False])
def test_storage_that_is_open_under_another_name_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, former: bool
) -> None:
    def resolve(names: Any) -> dict[str, list[str]]:
        return {name: ["192.0.2.9"] for name in names if name == "storage.lan"}

    storage_users._resolved.cache_clear()
    monkeypatch.setattr(storage_users, "resolve", resolve)
    monkeypatch.setattr(observe, "resolve", resolve)
    answer_with(monkeypatch, states())
    spelled = {BY_NAME.identity: spellings(BY_NAME)}
    old = f"{opened_line({BY_NAME.identity: True})}\n{spellings_lines(spelled)}"
    (tmp_path / UNIT).write_text(unit_text(NEW) if former else old)
    if former:
        former_storage.remember({UNIT: {BY_NAME.identity: True}}, states(), {UNIT: spelled})
    seen = observe.observe(vms=[], paths=[], secrets={}, encrypted=False)
    assert seen["names"] == {"storage.lan": ["192.0.2.9"]}
    assert seen["files"][str(tmp_path / UNIT)]["spellings"] == spelled
    assert storage_users.vms_that_open(BY_ADDRESS) == storage_users.vms_that_open(BY_NAME) == ["web1"]
    assert storage_users.vms_that_open(OTHER) == []


@pytest.mark.parametrize("writes", [True, False])
def test_a_vm_that_only_reads_a_disk_does_not_write_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writes: bool
) -> None:
    answer_with(monkeypatch, states())
    (tmp_path / UNIT).write_text(f"{opened_line({OTHER.identity: writes})}\n")
    assert storage_users.vms_that_open(OTHER) == ["web1"]
    assert storage_users.vms_that_write(OTHER) == (["web1"] if writes else [])


def test_an_observation_of_many_disks_reads_units_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(systemd, "show", lambda units: pytest.fail(f"systemd is asked for {units}"))
    (tmp_path / UNIT).write_text(f"{opened_line({OTHER.identity: True})}\n")
    users = storage_users.StorageUsers(states())
    assert storage_users.vms_that_open(OTHER, users) == ["web1"]
    (tmp_path / UNIT).unlink()
    assert storage_users.vms_that_open(OTHER, users) == ["web1"]
    assert storage_users.vms_that_open(BY_ADDRESS, users) == []
    assert storage_users.vms_that_open(OTHER) == []


def test_a_vm_that_does_not_run_has_nothing_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(systemd, "show", lambda _units: states(active="inactive"))
    (tmp_path / UNIT).write_text(f"{opened_line({OTHER.identity: True})}\n")
    assert storage_users.vms_that_open(OTHER) == []


def test_the_record_is_read_once_for_all_disks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / UNIT).write_text(unit_text(OLD), encoding="utf-8")
    users = storage_users.StorageUsers(states())
    monkeypatch.setattr(former_storage, "read", lambda: pytest.fail("read again"))
    assert users.of(disk(file={"path": "/srv/old"})) == {"web1": True}
