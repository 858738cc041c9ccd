# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a VM has open is what it was started with, whatever its unit says by now."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils import _host, _opened_storage, _paths, _running, _systemd

UNIT = "qemu-vm-web1.service"
OLD, NEW, NEWER = "path:/srv/old", "path:/srv/new", "path:/srv/newer"


@pytest.fixture(autouse=True)
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "run" / "opened.json"
    path.parent.mkdir()
    monkeypatch.setattr(_opened_storage, "RECORD", str(path))
    monkeypatch.setattr(_paths, "UNIT_DIRECTORY", str(tmp_path))
    return path


def states(invocation: str = "1", active: str = "active") -> dict[str, dict[str, Any]]:
    return {UNIT: {"active": active, "enabled": True, "reload": False, "invocation": invocation}}


def unit_text(identity: str) -> str:
    return f'{_paths.OPENED}{{"{identity}":true}}\n'


def test_a_vm_has_open_what_it_was_started_with_and_what_its_unit_says() -> None:
    _opened_storage.remember({UNIT: {OLD: True}}, states())
    assert _opened_storage.opened_now({UNIT: {NEW: False}}, states()) == {UNIT: {OLD: True, NEW: False}}
    assert _opened_storage.opened_now({UNIT: {OLD: False}}, states()) == {UNIT: {OLD: True}}
    for now in (states("2"), states(active="inactive"), states(active="failed")):
        assert _opened_storage.opened_now({UNIT: {NEW: True}}, now) == {UNIT: {NEW: True}}


def test_a_unit_that_was_never_started_has_opened_nothing(record: Path) -> None:
    _opened_storage.remember({UNIT: {OLD: True}}, states())
    _opened_storage.remember({UNIT: {OLD: True, NEW: True}}, states())
    assert _opened_storage.opened_now({UNIT: {NEWER: True}}, states()) == {UNIT: {OLD: True, NEWER: True}}
    _opened_storage.remember({UNIT: {NEWER: True}}, states("2"))
    assert _opened_storage.opened_now({UNIT: {}}, states("2")) == {UNIT: {NEWER: True}}
    assert record.stat().st_mode & 0o777 == 0o600
    _opened_storage.remember({}, {})
    assert not record.exists()
    _opened_storage.remember({UNIT: {OLD: True}}, states(active="inactive"))
    assert not record.exists()


def test_a_host_is_observed_with_what_its_vms_still_have_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_systemd, "show", lambda _units: states())
    (tmp_path / UNIT).write_text(unit_text(NEW))
    _opened_storage.remember({UNIT: {OLD: True}}, states())
    seen = _host.observe(vms=[], paths=[], secrets={}, encrypted=False, processes=False)
    assert seen["files"][str(tmp_path / UNIT)]["opened"] == {NEW: True, OLD: True}
    assert _running.machines_that_open(OLD) == _running.machines_that_open(NEW) == ["web1"]
    assert _running.machines_that_open(NEWER) == []


def test_a_run_writes_down_what_a_vm_has_open_before_it_replaces_its_unit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_systemd, "show", lambda _units: states())
    monkeypatch.setattr(_host, "_only_run", contextlib.nullcontext)
    monkeypatch.setattr(_host, "_switch", lambda *_: {})
    (tmp_path / UNIT).write_text(unit_text(OLD))
    monkeypatch.setattr(_host, "_write", lambda *_: (tmp_path / UNIT).write_text(unit_text(NEW)))
    desired: dict[str, Any] = {"files": {str(tmp_path / UNIT): {"text": unit_text(NEW), "mode": 0o644}}, "vms": {}}
    desired["looked"] = {"files": {str(tmp_path / UNIT): _host.digest(unit_text(OLD))}, "enabled": {}}
    _host.apply(desired, {}, encrypted=False)
    assert _running.machines_that_open(OLD) == _running.machines_that_open(NEW) == ["web1"]
