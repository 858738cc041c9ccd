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
