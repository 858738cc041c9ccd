# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Folders that belong to one run. The next run removes those of runs that were killed."""

from __future__ import annotations

import contextlib
import fcntl
import fnmatch
import glob
import os
import shutil
import tempfile
import time
from collections.abc import Iterator

PREFIX = "qemu-disks-"
_PAYLOADS = "ansible_directdisk.qemu.qemu_*_payload_*"
"""Folders in which Ansible puts a module of this collection while it runs."""
_YOUNG = 3600.0
"""Age in seconds from which such a folder may be removed: a module locks its own only after it started."""


@contextlib.contextmanager
def private_folder(place: str) -> Iterator[str]:
    """Create a folder that only root can enter, locked until the end of the block."""
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
        # Another run removed it as abandoned before it was locked.


def _lock(folder: str, kind: int = fcntl.LOCK_EX) -> int | None:
    """Lock a folder without waiting; return None if it is locked or missing."""
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    return handle


def _remove_abandoned(place: str) -> None:
    for folder in glob.glob(f"{place}/{PREFIX}*"):
        with contextlib.suppress(OSError):
            if os.lstat(folder).st_uid == os.getuid():
                _remove_unlocked(folder)


def _remove_unlocked(folder: str) -> None:
    """Remove a folder unless its owner is alive."""
    lock = _lock(folder)
    if lock is not None:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def lock_payload() -> None:
    """Lock the folder from which this module runs, so that no other run removes it."""
    folder = _payload_of(__file__)
    if folder:
        # Only the end of this process closes it.
        _lock(folder, fcntl.LOCK_SH)


def remove_payloads() -> None:
    """Remove the folders that Ansible left behind for killed modules of this collection."""
    for folder in glob.glob(f"{tempfile.gettempdir()}/{_PAYLOADS}"):
        with contextlib.suppress(OSError):
            status = os.lstat(folder)
            # A young one may belong to a module that has not locked it yet.
            if status.st_uid == os.geteuid() and time.time() - status.st_mtime > _YOUNG:
                _remove_unlocked(folder)


def _payload_of(path: str) -> str:
    """Return the folder of the archive that contains a module's file; empty if it runs from no archive."""
    folder = path.partition("_payload.zip/")[0].rpartition("/")[0] if "_payload.zip/" in path else ""
    return folder if fnmatch.fnmatch(os.path.basename(folder), _PAYLOADS) else ""
