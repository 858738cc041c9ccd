# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files are either old or new."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import NoReturn

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError
from ansible_collections.directdisk.qemu.plugins.module_utils._host import files


def test_a_file_is_written_whole_with_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "unit"
    files.write_atomically(str(path), "old é\n", mode=0o644)
    files.write_atomically(str(path), b"new\n", mode=0o600)
    assert path.read_bytes() == b"new\n"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["unit"]


@pytest.mark.parametrize("step", ["fchmod", "fsync", "rename"])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), KeyboardInterrupt()], ids=repr)
def test_a_write_that_fails_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, error: BaseException
) -> None:
    path = tmp_path / "unit"
    path.write_text("old")

    def fail(*_arguments: object) -> NoReturn:
        raise error

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(HostError if isinstance(error, OSError) else type(error)) as failure:
        files.write_atomically(str(path), "new", mode=0o644)
    if isinstance(error, OSError):
        assert str(failure.value) == f"{path}: is not written, and stays as it was: No space left on device"
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_write_that_is_killed_leaves_the_old_file_and_a_leftover_that_the_next_run_removes(tmp_path: Path) -> None:
    path = tmp_path / "unit"
    path.write_text("old")
    child = os.fork()
    if child == 0:
        os.fsync = lambda _handle: os.kill(os.getpid(), 9)  # type: ignore[assignment]
        files.write_atomically(str(path), "new", mode=0o644)
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == 9
    assert path.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 2
    files.remove_leftovers(str(tmp_path))
    assert list(tmp_path.iterdir()) == [path]


def test_leftovers_of_a_folder_that_is_not_there_are_none(tmp_path: Path) -> None:
    files.remove_leftovers(str(tmp_path / "nowhere"))


def test_a_file_that_is_not_there_has_no_text(tmp_path: Path) -> None:
    assert files.read_text(str(tmp_path / "nothing")) == ""


def test_a_text_is_read_as_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "unit"
    path.write_bytes(b"one\r\ntwo\r")
    assert files.read_text(str(path)) == "one\r\ntwo\r"
    path.write_bytes(b"in latin-1: \xe9")
    assert files.read_text(str(path)) == "in latin-1: \ufffd"
    assert files.read_text(str(tmp_path / "missing")) == ""


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "local").write_text("")
    with pytest.raises(HostError) as failure:
        files.make_folder(str(tmp_path / "local" / "libexec"))
    assert str(failure.value) == f"{tmp_path}/local: is not made: File exists"


def test_a_folder_that_is_made_is_for_all_users_whatever_the_umask(tmp_path: Path) -> None:
    """Programs of units are in such folders, and VMs' users run them."""
    before = os.umask(0o077)
    try:
        files.make_folder(str(tmp_path / "local" / "libexec"))
    finally:
        os.umask(before)
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in ("local", "local/libexec")] == [0o755, 0o755]
    (tmp_path / "local").chmod(0o700)
    files.make_folder(str(tmp_path / "local" / "libexec"))
    assert (tmp_path / "local").stat().st_mode & 0o777 == 0o700
