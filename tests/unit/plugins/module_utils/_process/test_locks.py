# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Turns of runs: nobody but root can keep them waiting, they do not wait for ever, and not for a run that is gone."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError
from ansible_collections.directdisk.qemu.plugins.module_utils._process import locks, requester
from ansible_collections.directdisk.qemu.plugins.module_utils._process.locks import locked

HOLDS = """
import fcntl, os, struct, sys
handle = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o600)
fcntl.fcntl(handle, fcntl.F_OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, int(sys.argv[2]), 1, 0))
print(flush=True)
sys.stdin.read()
"""


@contextmanager
def held(path: Path, byte: int) -> Iterator[int]:
    """Another process that holds a byte of a lock file; its number."""
    command = [sys.executable, "-c", HOLDS, str(path), str(byte), "\x1b[31m"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        yield process.pid
        process.kill()


def test_who_holds_a_lock_for_too_long_is_named(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with (
        held(path, 7) as pid,
        pytest.raises(HostError, match="another run on this host is working on x") as refused,
        locked(str(path), 7, seconds=0.1, subject="x"),
    ):
        pass
    assert f"process {pid} ({sys.executable} -c" in str(refused.value)
    assert "\x1b" not in str(refused.value)


def test_another_byte_is_another_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with held(path, 7), locked(str(path), 8, seconds=0.1, subject="x"):
        pass


def test_threads_of_a_run_are_apart(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    order = []

    def work() -> None:
        with locked(path, 0, seconds=5, subject="x"):
            order.append("second")

    with locked(path, 0, seconds=1, subject="x"):
        thread = threading.Thread(target=work)
        thread.start()
        time.sleep(0.2)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


def test_nobody_else_can_open_the_file(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with locked(str(path), 0, seconds=1, subject="x"):
        assert path.stat().st_mode & 0o777 == 0o600


def test_a_file_that_others_may_have_open_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.touch()
    path.chmod(0o644)
    with path.open("rb") as others:
        fcntl.fcntl(others, fcntl.F_OFD_SETLK, locks._FLOCK.pack(fcntl.F_RDLCK, 0, 0, 1, 0))
        with locked(str(path), 0, seconds=0.1, subject="x"):
            assert path.stat().st_mode & 0o777 == 0o600


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to(tmp_path / "victim")
    with pytest.raises(OSError, match="symbolic links"), locked(str(tmp_path / "lock"), 0, seconds=1, subject="x"):
        pass
    assert not (tmp_path / "victim").exists()


def test_what_is_no_file_is_not_used(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "lock", 0o600)
    with (
        pytest.raises(HostError, match="is not a regular file of root"),
        locked(str(tmp_path / "lock"), 0, seconds=1, subject="x"),
    ):
        pass


def test_a_run_whose_playbook_is_gone_does_not_take_its_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with ssh: the first line is taken, and the next one is refused."""
    read, write = os.pipe()
    monkeypatch.setattr(requester, "_OUTPUT", write)
    monkeypatch.setattr(requester, "_DELAY", 0.01)
    path, entered = str(tmp_path / "lock"), []
    release = threading.Timer(1.5, lambda: None)

    def work() -> None:
        try:
            with locked(path, 0, seconds=20, subject="x"):
                entered.append("in")
        except HostError as error:
            entered.append(str(error))

    with locked(path, 0, seconds=1, subject="x"):
        thread = threading.Thread(target=work)
        thread.start()
        release.start()
        release.join()
        os.close(read)
    thread.join()
    os.close(write)
    assert entered == ["the run that asked for this has ended; nothing was changed"]


def test_nobody_is_asked_where_a_turn_comes_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requester, "check", lambda **_: pytest.fail("asked"))
    with locked(str(tmp_path / "lock"), 0, seconds=1, subject="x"):
        pass
