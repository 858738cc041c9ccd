# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The record of the files that a unit was started from."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._metrics import units
from ansible_collections.directdisk.qemu.plugins.module_utils._programs import unit_record
from ansible_collections.directdisk.qemu.plugins.module_utils._units import paths, unit_text

UNIT = "qemu-vm-a-b.service"
FILES = (UNIT, "qemu-vm-a-b.root.tgt.service", "qemu-vm-a-b.ssh.keys.service", "qemu-vm-a-bc.service")
DROP_INS = (f"{UNIT}.d", "qemu-vm-a-.service.d", "qemu-vm-.service.d", "service.d", "qemu-vm-a-b.root.tgt.service.d")


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host with the units of two VMs; systemd has read all files."""
    (tmp_path / "units").mkdir()
    (tmp_path / "run").mkdir()
    (tmp_path / "bin").mkdir()
    for name in FILES:
        (tmp_path / "units" / name).write_text(name, encoding="utf-8")
    (tmp_path / "key").write_text("secret", encoding="utf-8")
    loads = [
        unit_text.credential_line("root.key", f"{tmp_path}/key", encrypted=True),
        unit_text.credential_line("root.other", "/elsewhere", encrypted=False),
    ]
    (tmp_path / "units" / FILES[1]).write_text("\n".join(loads), encoding="utf-8")
    systemd_says(tmp_path, "no")
    monkeypatch.setattr(unit_record, "UNIT_FOLDERS", (f"{tmp_path}/units", f"{tmp_path}/run"))
    monkeypatch.setattr(paths, "UNIT_DIRECTORY", f"{tmp_path}/units")
    monkeypatch.setattr(unit_record, "RECORDS", f"{tmp_path}/records")
    monkeypatch.setattr(unit_record, "CREDENTIALS", str(tmp_path))
    monkeypatch.setenv("PATH", f"{tmp_path}/bin", prepend=os.pathsep)
    return tmp_path


def systemd_says(folder: Path, stale: str) -> None:
    """Make a systemctl that reports if units are newer than what systemd has read."""
    program = folder / "bin" / "systemctl"
    program.write_text(f"#!/bin/sh\necho Id={UNIT}\necho NeedDaemonReload={stale}\n", encoding="utf-8")
    program.chmod(0o755)


def is_due(invocation: str) -> bool:
    return units.restarts_due({"a-b": invocation, "a-c": ""})["a-b"]


def test_a_restart_is_due_while_a_file_differs_whatever_the_clock_says(host: Path) -> None:
    unit_record.record(UNIT, "1")
    due = []
    for path in [*(host / "units" / name for name in FILES), host / "key"]:
        old = path.read_text(encoding="utf-8")
        os.utime(path, (2**32, 2**32)) if path.name != "key" else None
        assert not is_due("1")
        path.write_text(f"{old} ", encoding="utf-8")
        due += [path.name] if is_due("1") else []
        path.write_text(old, encoding="utf-8")
        unit_record.record(UNIT, "1")
    assert due == [*FILES[:2], "key"]
    assert is_due("2")
    assert (host / "records").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("folder", ["units", "run"])
@pytest.mark.parametrize("name", [*DROP_INS, "qemu-vm-a-bc.service.d", "qemu-vm-a-b.socket.d", "ssh.service.d"])
def test_drop_ins_of_its_units_count(host: Path, folder: str, name: str) -> None:
    unit_record.record(UNIT, "1")
    path = host / folder / name / "more.conf"
    path.parent.mkdir()
    path.write_text("[Service]", encoding="utf-8")
    assert is_due("1") is (name in DROP_INS)
    unit_record.record(UNIT, "1")
    assert not is_due("1")
    path.unlink()
    assert is_due("1") is (name in DROP_INS)


def test_a_start_from_a_file_that_systemd_had_not_read_is_due(host: Path) -> None:
    systemd_says(host, "yes")
    unit_record.record(UNIT, "1")
    assert is_due("1")


def test_what_a_vm_gains_and_loses_while_it_runs_is_recorded(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A credential that has changed since the start still makes a restart due; one of a new disk does not."""
    launch = host / "units" / UNIT
    line = unit_text.credential_line
    store = host / "credentials"
    store.mkdir()
    monkeypatch.setattr(unit_record, "CREDENTIALS", str(store))

    def loads(*names: str) -> None:
        texts = [line(name, f"{store}/{name}", encrypted=True) for name in names]
        launch.write_text("\n".join(texts), encoding="utf-8")

    for name in ("old", "stays", "new"):
        (store / name).write_text(name, encoding="utf-8")
    loads("old", "stays")
    unit_record.record(UNIT, "1")
    (store / "stays").write_text("changed", encoding="utf-8")
    loads("stays", "new")
    unit_record.update(UNIT, "1", complete=True)
    assert is_due("1")
    # The process has been given it.
    unit_record.update(UNIT, "1", complete=True, renewed=[str(store / "stays")])
    assert not is_due("1")
    unit_record.record(UNIT, "1")
    loads("old", "stays", "new")
    unit_record.update(UNIT, "1", complete=False)
    assert is_due("1")
    unit_record.update(UNIT, "1", complete=True)
    assert not is_due("1")


def test_the_record_of_another_start_is_left_alone(host: Path) -> None:
    unit_record.record(UNIT, "1")
    before = Path(unit_record.record_path(UNIT)).read_text(encoding="utf-8")
    unit_record.update(UNIT, "2", complete=True)
    assert Path(unit_record.record_path(UNIT)).read_text(encoding="utf-8") == before


def test_the_links_of_a_start_are_recorded_and_stay_so(host: Path) -> None:
    launch = Path(unit_record.UNIT_FOLDERS[0]) / UNIT
    launch.write_text(unit_text.links_lines(["lan", "dmz"]) + "[Unit]\n", encoding="utf-8")
    unit_record.record(UNIT, "1")
    launch.write_text("[Unit]\n", encoding="utf-8")
    unit_record.update(UNIT, "1", complete=True)
    assert unit_record.links_down(UNIT, "1") == ["lan", "dmz"]
    assert unit_record.links_down(UNIT, "2") == []
    unit_record.record(UNIT, "2")
    assert unit_record.links_down(UNIT, "2") == []


def test_the_folders_of_units_are_listed_once_for_all_vms(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed: list[str] = []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: listed.append(str(path)) or scandir(path))
    units.restarts_due({"a-b": "1"})
    one = len(listed)
    units.restarts_due({f"vm{number}": "1" for number in range(50)})
    assert (one > 0, len(listed)) == (True, 2 * one)
