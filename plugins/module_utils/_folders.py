# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Folders that belong to a run; what a run that was killed has left, the next one removes."""

from __future__ import annotations

import contextlib
import fcntl
import glob
import os
import shutil
import tempfile
from collections.abc import Iterator

PREFIX = "qemu-disks-"


@contextlib.contextmanager
def folder_for_a_while(place: str) -> Iterator[str]:
    """A folder that only root may enter. Its owner holds a lock on it for as long as it lives."""
    _remove_abandoned(place)
    folder, lock = _make(place)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _make(place: str) -> tuple[str, int]:
    while True:
        folder = tempfile.mkdtemp(prefix=PREFIX, dir=place)
        lock = _lock(folder)
        if lock is not None and os.path.isdir(folder):
            return folder, lock
        # Another run has taken it for abandoned, before it was locked.


def _lock(folder: str) -> int | None:
    """The lock of a folder that nobody has."""
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    return handle


def _remove_abandoned(place: str) -> None:
    for folder in glob.glob(f"{place}/{PREFIX}*"):
        with contextlib.suppress(OSError):
            lock = _lock(folder) if os.lstat(folder).st_uid == os.getuid() else None
            if lock is not None:
                shutil.rmtree(folder, ignore_errors=True)
                os.close(lock)
