# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs on one host take turns: with its VMs, and with each disk."""

from __future__ import annotations

import contextlib
import fcntl
import glob
import hashlib
import os
import stat
import struct
import time
from collections.abc import Iterator

from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError
from ansible_collections.directdisk.qemu.plugins.module_utils._printable import printable
from ansible_collections.directdisk.qemu.plugins.module_utils._process import requester

VMS_LOCK = "/run/qemu-vms.lock"
VMS_SECONDS = 300.0
"""Time that a run waits for another one: that may be stopping guests, whose stop_timeout is 90 s unless declared."""
DISKS_LOCK = "/run/qemu-disks.lock"
"""One file for all disks: each has a byte of it."""
_FLOCK = struct.Struct("hhqqi4x")
"""struct flock of fcntl(2): type, whence, start, length, process."""
_COMMAND = 200
"""Characters of a command that an error repeats."""


@contextlib.contextmanager
def locked_disk(disk: Disk, *, seconds: float) -> Iterator[None]:
    """Wait for other runs to be done with a disk; a run that is killed has let go of it."""
    digest = hashlib.sha256(disk.identity.encode()).digest()
    with locked(DISKS_LOCK, int.from_bytes(digest[:7], "big"), seconds=seconds, about="it"):
        yield


@contextlib.contextmanager
def locked(path: str, byte: int, *, seconds: float, about: str) -> Iterator[None]:
    """Hold the lock on one byte of a file; HostError with the holder's name where that takes too long.

    about: what the holder is at work on. Gives up, too, when nobody waits for this run's answer any more.
    """
    handle = _open(path)
    try:
        _lock(handle, path, byte, seconds, about)
        yield
    finally:
        os.close(handle)


def _open(path: str) -> int:
    """Open a lock file that nobody but this user can open, and so hold."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        found = os.fstat(handle)
        if stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077:
            return handle
        os.close(handle)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
            raise HostError(f"{path} is not a file of root's; remove it")
        # Others may have it open since it was made with another mode, and a lock of theirs would last.
        with contextlib.suppress(FileNotFoundError):
            if os.stat(path).st_ino == found.st_ino:
                os.unlink(path)


def _lock(handle: int, path: str, byte: int, seconds: float, about: str) -> None:
    """A lock of the open file, not of the process: the threads of a run are apart, too."""
    start = time.monotonic()
    asked = start
    wanted = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, byte, 1, 0)
    while True:
        try:
            fcntl.fcntl(handle, fcntl.F_OFD_SETLK, wanted)
            break
        except (BlockingIOError, PermissionError):
            now = time.monotonic()
            if now - start > seconds:
                message = f"another run on this host is at work on {about}: {_holder(path, byte)}; wait for its end"
                raise HostError(message) from None
            if now - asked > 1:
                requester.check()
                asked = now
            time.sleep(0.05)
    if time.monotonic() - start > 1:
        requester.check(surely=True)


def _holder(path: str, byte: int) -> str:
    """The process that holds a byte of a lock file: its number and command line.

    The kernel names no process for a lock of an open file, but beside each open file what locks it has (proc(5)).
    """
    for link in glob.glob("/proc/[0-9]*/fd/*"):
        with contextlib.suppress(OSError, ValueError):
            if os.readlink(link) == path and _has_lock(link.replace("/fd/", "/fdinfo/"), byte):
                pid = link.split("/")[2]
                with open(f"/proc/{pid}/cmdline", "rb") as stream:
                    command = stream.read(_COMMAND).replace(b"\0", b" ").decode(errors="replace").strip()
                return f"process {pid} ({printable(command)})"
    return "a process that cannot be seen"


def _has_lock(info: str, byte: int) -> bool:
    with open(info, encoding="ascii", errors="replace") as stream:
        locks = [line.split() for line in stream if line.startswith("lock:")]
    return any(int(lock[-2]) <= byte and (lock[-1] == "EOF" or byte <= int(lock[-1])) for lock in locks)
