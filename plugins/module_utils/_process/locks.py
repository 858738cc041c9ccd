# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Locks with a time limit, one run at a time: for the VMs of this host, for each disk, for a tgtd."""

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
"""Time limit for the VMs: the run that holds the lock may be stopping guests, by default within 90 s (stop_timeout)."""
DISKS_LOCK = "/run/qemu-disks.lock"
"""One file for all disks: each has a byte of it."""
_FLOCK = struct.Struct("hhqqi4x")
"""struct flock of fcntl(2): type, whence, start, length, process."""
_COMMAND = 200
"""Characters of a command that an error repeats."""


@contextlib.contextmanager
def locked_disk(disk: Disk, *, seconds: float) -> Iterator[None]:
    """Hold the lock of a disk. The kernel releases it if the run is killed."""
    digest = hashlib.sha256(disk.identity.encode()).digest()
    with locked(DISKS_LOCK, int.from_bytes(digest[:7], "big"), seconds=seconds, subject="this disk"):
        yield


@contextlib.contextmanager
def locked(path: str, byte: int, *, seconds: float, subject: str) -> Iterator[None]:
    """Hold the lock on one byte of a file; raise HostError with the holder's process after the time limit.

    subject: what the lock protects, for the error. Also raises HostError once nobody waits for the answer of this run.
    """
    handle = _open(path)
    try:
        _lock(handle, path, byte, seconds, subject)
        yield
    finally:
        os.close(handle)


def _open(path: str) -> int:
    """Open a lock file that no other user can open, and so lock."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        opened = os.fstat(handle)
        if stat.S_ISREG(opened.st_mode) and opened.st_uid == os.geteuid() and not opened.st_mode & 0o077:
            return handle
        os.close(handle)
        if not stat.S_ISREG(opened.st_mode) or opened.st_uid != os.geteuid():
            raise HostError(f"{path} is not a regular file of root; remove it")
        # Others may have opened it while its mode allowed that, and could keep it locked.
        with contextlib.suppress(FileNotFoundError):
            if os.stat(path).st_ino == opened.st_ino:
                os.unlink(path)


def _lock(handle: int, path: str, byte: int, seconds: float, subject: str) -> None:
    """Lock the open file, not the process, so that it also excludes other threads of this run."""
    start = time.monotonic()
    checked = start
    request = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, byte, 1, 0)
    while True:
        try:
            fcntl.fcntl(handle, fcntl.F_OFD_SETLK, request)
            break
        except (BlockingIOError, PermissionError):
            now = time.monotonic()
            if now - start > seconds:
                message = f"another run on this host is working on {subject}: {_holder(path, byte)}; wait until it ends"
                raise HostError(message) from None
            if now - checked > 1:
                requester.check()
                checked = now
            time.sleep(0.05)
    if time.monotonic() - start > 1:
        requester.check(surely=True)


def _holder(path: str, byte: int) -> str:
    """Return the process that locked a byte of a file: its PID and command line.

    The kernel names no process for a lock of an open file, but lists the locks of each open file (proc(5)).
    """
    for link in glob.glob("/proc/[0-9]*/fd/*"):
        with contextlib.suppress(OSError, ValueError):
            if os.readlink(link) == path and _has_lock(link.replace("/fd/", "/fdinfo/"), byte):
                pid = link.split("/")[2]
                with open(f"/proc/{pid}/cmdline", "rb") as stream:
                    command = stream.read(_COMMAND).replace(b"\0", b" ").decode(errors="replace").strip()
                return f"process {pid} ({printable(command)})"
    return "a process that /proc does not show"


def _has_lock(info: str, byte: int) -> bool:
    with open(info, encoding="ascii", errors="replace") as stream:
        locks = [line.split() for line in stream if line.startswith("lock:")]
    return any(int(lock[-2]) <= byte and (lock[-1] == "EOF" or byte <= int(lock[-1])) for lock in locks)
