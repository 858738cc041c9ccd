# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The log of a unit, in which processes write what they like."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._host import systemd


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
