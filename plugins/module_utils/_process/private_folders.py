# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Folders that belong to a run; what a run that was killed has left, the next one removes."""

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
"""The folders in which Ansible puts a module of this collection for as long as it runs."""
_YOUNG = 3600.0
"""Seconds after which such a folder is looked at: a module locks its own only when it begins."""


@contextlib.contextmanager
def private_folder(place: str) -> Iterator[str]:
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


def _lock(folder: str, kind: int = fcntl.LOCK_EX) -> int | None:
    """The lock of a folder that nobody has."""
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
    """Remove a folder, unless its owner lives."""
    lock = _lock(folder)
    if lock is not None:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def lock_payload() -> None:
    """Hold a lock on the folder that this module runs from for as long as it lives: no other run removes it then."""
    folder = _payload_of(__file__)
    if folder:
        # Closed by the end of this process alone.
        _lock(folder, fcntl.LOCK_SH)


def remove_payloads() -> None:
    """Remove what Ansible has left of modules of this collection that were killed."""
    for folder in glob.glob(f"{tempfile.gettempdir()}/{_PAYLOADS}"):
        with contextlib.suppress(OSError):
            found = os.lstat(folder)
            # Young ones may belong to a module that does not hold its lock yet.
            if found.st_uid == os.geteuid() and time.time() - found.st_mtime > _YOUNG:
                _remove_unlocked(folder)


def _payload_of(path: str) -> str:
    """The folder of the archive that a module's file is in; empty where it runs from no archive."""
    folder = path.partition("_payload.zip/")[0].rpartition("/")[0] if "_payload.zip/" in path else ""
    return folder if fnmatch.fnmatch(os.path.basename(folder), _PAYLOADS) else ""
