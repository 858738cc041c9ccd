# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The log of a unit, in which processes write what they like."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._host import systemd
from ansible_collections.directdisk.qemu.plugins.module_utils._units import paths


def test_a_log_acts_on_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(command: list[str], **_options: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 0, "Started x.\n\x1b]0;owned\x07\n\nlast\n", "")

    monkeypatch.setattr(subprocess, "run", run)
    assert systemd.last_log_lines(["qemu-vm-web1.service"], 5) == [r"\x1b]0;owned\x07", "last"]


def test_the_log_of_a_start_begins_where_the_journal_ended_before(monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []

    def run(command: list[str], **_options: Any) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        return subprocess.CompletedProcess(command, 0, "an earlier failure\n-- cursor: s=1;i=2\n", "")

    monkeypatch.setattr(subprocess, "run", run)
    assert systemd.end_of_journal() == "s=1;i=2"
    systemd.last_log_lines(["qemu-vm-web1.service"], 5, after="s=1;i=2")
    assert "--after-cursor=s=1;i=2" in commands[1]
    # With a cursor it would be the first lines, not the last.
    assert not any(word.startswith("--lines") for word in commands[1])


SHOWN = "ActiveState=active\nLoadState=loaded\nUnitFileState=enabled\nNeedDaemonReload=yes\nInvocationID=1\nMainPID=7"
STOPPED = {"active": "inactive", "enabled": False, "masked": False, "reload": False, "invocation": "", "pid": 0}


def test_systemd_is_not_asked_for_units_that_it_has_not_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded, stopped, booted, masked, empty, missing = (f"qemu-vm-{name}.service" for name in "abcdef")
    for unit in (loaded, stopped, booted):
        (tmp_path / unit).write_text("[Service]\n", encoding="utf-8")
    (tmp_path / empty).touch()
    (tmp_path / masked).symlink_to("/dev/null")
    (tmp_path / "qemu-vms.target.wants").mkdir()
    (tmp_path / "qemu-vms.target.wants" / booted).symlink_to(tmp_path / booted)
    shown: list[str] = []

    def run(command: list[str], **_options: Any) -> subprocess.CompletedProcess[str]:
        if command[1] == "list-units":
            return subprocess.CompletedProcess(command, 0, f"{loaded} loaded active running VM a\n", "")
        shown.extend(command[command.index("--") + 1 :])
        return subprocess.CompletedProcess(command, 0, "\n\n".join(f"Id={unit}\n{SHOWN}" for unit in shown), "")

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(paths, "UNIT_DIRECTORY", str(tmp_path))
    states = systemd.states([loaded, stopped, booted, masked, empty, missing])
    assert shown == [loaded, masked, empty, missing]
    assert states[loaded]["active"] == "active"
    assert states[stopped] == STOPPED
    assert states[booted] == {**STOPPED, "enabled": True}


def test_helpers_are_stopped_with_their_vms_and_no_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[tuple[str, list[str]]] = []
    monkeypatch.setattr(systemd, "systemctl", lambda verb, units=(), *_options: called.append((verb, [*units])))
    monkeypatch.setattr(paths, "UNIT_DIRECTORY", str(tmp_path))
    for unit in ("qemu-vm-web", "qemu-vm-web.root.tgt", "qemu-vm-web-1.root.tgt", "qemu-vms-resume"):
        (tmp_path / f"{unit}.service").touch()
    systemd.stop_vms([])
    systemd.stop_vms(["qemu-vm-web.service"])
    assert called == [("stop", ["qemu-vm-web.service", "qemu-vm-web.root.tgt.service"])]
