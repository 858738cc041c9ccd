# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The keys of an ssh-agent that runs during a run."""

from __future__ import annotations

import contextlib
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._access import ssh_agent


def test_keys_are_written_where_confined_processes_put_no_links(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folders: list[str] = []

    def run(command: list[str], *, cwd: str, **_options: Any) -> subprocess.CompletedProcess[str]:
        folders.append(cwd)
        assert Path(cwd, "key").read_text() == "text of the key"
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(ssh_agent, "background_process", lambda *_arguments, **_options: contextlib.nullcontext())
    (tmp_path / "w").mkdir()
    bench: Any = SimpleNamespace(
        folder=str(tmp_path / "w"),
        root_folder=str(tmp_path),
        open_timeout=1,
        give=lambda path: None,
        confined=lambda _allowed: [],
    )
    identity: Any = SimpleNamespace(key="text of the key", passphrase="")
    with ssh_agent.agent({"root": identity}, bench) as path:
        assert path.startswith(f"{tmp_path}/w/")
    assert folders == [str(tmp_path)]
    assert not (tmp_path / "key").exists()
