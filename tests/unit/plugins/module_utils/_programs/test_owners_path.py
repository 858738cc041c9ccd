# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The program that finds the processes that have a file or device open, with real files."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._programs import owners_path
from ansible_collections.directdisk.qemu.tests.unit.plugins.module_utils._programs.test_owners_rbd import (
    run_program,
)


def test_the_process_that_writes_to_a_file_is_named(tmp_path: Path) -> None:
    written, only_read = tmp_path / "written", tmp_path / "read"
    for path in (written, only_read):
        path.touch()
    (tmp_path / "link").symlink_to(written)
    checks = [{"path": str(tmp_path / name)} for name in ("link", "read", "missing")]
    with open(written, "r+b"), open(only_read, "rb"):
        done = subprocess.run(
            [sys.executable, "-IS", str(owners_path.__file__), "5"],
            input=json.dumps(checks),
            capture_output=True,
            text=True,
            check=True,
        )
    link, read, missing = (json.loads(line)["owners"] for line in done.stdout.splitlines())
    assert [f"(process {os.getpid()}" in owner["name"] and owner["here"] for owner in link] == [True]
    assert (read, missing) == ([], [])


@pytest.mark.parametrize(
    ("mode", "device", "same"),
    [("0100644", 7, False), ("0060644", 7, True), ("0020644", 7, True), ("0060644", 8, False)],
    ids=["files", "block devices", "character devices", "other devices"],
)
def test_names_of_a_device_are_compared_by_its_number_and_files_by_theirs(
    monkeypatch: pytest.MonkeyPatch, mode: str, device: int, same: bool
) -> None:
    """A device may have names on several file systems, and files on two of them have the same number."""

    def status(path: str) -> Any:
        fields = {"st_mode": int(mode, 8), "st_ino": 5, "st_dev": len(path), "st_rdev": device if path == "/a" else 7}
        return types.SimpleNamespace(**fields)

    monkeypatch.setattr(owners_path.os, "stat", status)
    assert (owners_path.key_of("/a") == owners_path.key_of("/long")) == same


@pytest.mark.parametrize(("mode", "named"), [("r+b", True), ("ab", True), ("rb", False)])
def test_a_process_is_named_if_it_may_write(tmp_path: Path, mode: str, named: bool) -> None:
    path = tmp_path / "image"
    path.touch()
    with open(path, mode) as file:
        assert owners_path.writes("self", str(file.fileno())) == named


def test_a_name_that_is_no_text_is_read(tmp_path: Path) -> None:
    (tmp_path / "comm").write_bytes(b"a\xff\n")
    assert owners_path.read(str(tmp_path / "comm")) == "a\ufffd\n"


def test_processes_that_end_meanwhile_do_not_hide_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "image").touch()
    processes, own = ["999999999", str(os.getpid())], os.listdir
    monkeypatch.setattr(owners_path.os, "listdir", lambda path: processes if path == "/proc" else own(path))
    with open(tmp_path / "image", "ab"):
        key = owners_path.key_of(str(tmp_path / "image"))
        names = owners_path.writers({key})[key]
    assert f"(process {os.getpid()}" in names[0]


def test_what_is_missing_is_not_taken_for_a_file_that_a_process_has_closed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def stat(path: str) -> Any:
        raise FileNotFoundError(path)

    own = os.listdir
    monkeypatch.setattr(os, "listdir", lambda path: [str(os.getpid())] if path == "/proc" else own(path))
    monkeypatch.setattr(sys, "stdin", io.StringIO('[{"path": "/none"}]'))
    with open(tmp_path / "file", "w", encoding="utf-8"), monkeypatch.context() as patched:
        patched.setattr(os, "stat", stat)
        run_program(owners_path)
    assert capsys.readouterr().out == '{"owners": []}\n'


def test_a_process_that_ends_meanwhile_is_no_obstacle() -> None:
    assert owners_path.key_of("/proc/0/fd/0") == ()
    assert not owners_path.writes("0", "0")
    assert owners_path.name_of("0") == "open by  (process 0)"


def test_a_process_cannot_write_into_messages_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = {"/proc/7/comm": "a\x1b[2Jb\n", "/proc/7/cgroup": "0::/system.slice/qemu-vm-web2.service\n"}
    monkeypatch.setattr(owners_path, "read", lambda path: texts[path])
    assert owners_path.name_of("7") == "open by a?[2Jb (process 7 of qemu-vm-web2.service)"
