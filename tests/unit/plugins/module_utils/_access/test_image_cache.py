# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The transient unit that fetches an image into the host's cache."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._access import image_cache
from ansible_collections.directdisk.qemu.plugins.module_utils._access.workbench import Workbench
from ansible_collections.directdisk.qemu.plugins.module_utils._host import systemd
from ansible_collections.directdisk.qemu.plugins.module_utils._routes import stage
from ansible_collections.directdisk.qemu.tests.unit.support import capabilities, disk_of, vm

URL = "http://192.0.2.7/$HOME/${PATH}/100%n$$/a.img"


def test_systemd_replaces_nothing_in_a_url(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    commands: list[list[str]] = []

    def run(command: list[str], **_options: Any) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        copy.touch()
        return subprocess.CompletedProcess(command, 0, "", "")

    copy = tmp_path / "copy"
    monkeypatch.setattr(stage, "copy_of", lambda disk: str(copy))
    monkeypatch.setattr(systemd, "show", lambda units: {unit: {"active": "inactive"} for unit in units})
    monkeypatch.setattr(subprocess, "run", run)
    disk = vm(disk_of({"http": {"url": URL}}, writes="deny", route="stage")).disks[0]
    with Workbench(capabilities()) as bench:
        image_cache.fetch(disk, bench)
    (command,) = commands
    # Of a unit's command line, systemd expands variables alone, and $$ is a $ (seen with systemd-run of 252 and 257).
    given = command[command.index("-IS") :]
    assert URL.replace("$", "$$") in given
    assert all("$" not in word.replace("$$", "") for word in given)
