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
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError, printable
from ansible_collections.directdisk.qemu.plugins.module_utils._process import jobs, requester
from ansible_collections.directdisk.qemu.plugins.module_utils._process.progress import DiskProgress

VMS_LOCK = "/run/qemu-vms.lock"
VMS_SECONDS = 300.0
"""Time limit for the VMs: the run that holds the lock may be stopping guests, by default within 90 s (stop_timeout)."""
DISKS_LOCK = "/run/qemu-disks.lock"
"""One file for all disks: each has a byte of it."""
_SOON = 1.0
"""Seconds after which it is looked who holds the lock of a disk."""
_FLOCK = struct.Struct("hhqqi4x")
"""struct flock of fcntl(2): type, whence, start, length, process."""
_COMMAND = 200
"""Characters of a command that an error repeats."""


@contextlib.contextmanager
def locked_disk(disk: Disk, progress: DiskProgress, *, seconds: float) -> Iterator[None]:
    """Hold the lock of a disk. The kernel releases it if the run is killed.

    A process that another run has left at work is waited for as long as it takes, with its progress. Also raises
    HostError if the run that asked for this has ended while this process waited: another one may have changed its mind.
    """
    byte = lock_of(disk)
    patience, waited = min(_SOON, seconds), False
    while True:
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(locked(DISKS_LOCK, byte, seconds=patience, subject="this disk"))
            except HostError:
                if not _await_job(byte, progress):
                    if patience == seconds:
                        raise
                    patience = seconds
                waited = True
                continue
            if waited:
                requester.check(surely=True)
                requester.await_controller(within=0)
            yield
            return


def lock_of(disk: Disk) -> int:
    """Return the byte of the lock file that stands for a disk."""
    return int.from_bytes(hashlib.sha256(disk.identity.encode()).digest()[:7], "big")


def _await_job(byte: int, progress: DiskProgress) -> bool:
    """Wait while the disk is held by a detached process, and return if it was held by one."""
    pid = holder_of(DISKS_LOCK, byte)
    if not pid or jobs.progress_of(pid, byte) is None:
        return False
    with progress.step(f"wait for process {pid} of an earlier run") as step:
        while holder_of(DISKS_LOCK, byte) == pid:
            requester.check()
            row = jobs.progress_of(pid, byte)
            if row and row["step"]:
                step.follow(row)
            time.sleep(1)
    return True


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
    """Return the process that locked a byte of a file: its PID and command line."""
    pid = holder_of(path, byte)
    with contextlib.suppress(OSError):
        with open(f"/proc/{pid}/cmdline", "rb") as stream:
            command = stream.read(_COMMAND).replace(b"\0", b" ").decode(errors="replace").strip()
        return f"process {pid} ({printable(command)})"
    return "a process that /proc does not show"


def holder_of(path: str, byte: int) -> int:
    """Return the PID of the process that locked a byte of a file; 0 if there is none.

    The kernel names no process for a lock of an open file, but lists the locks of each open file (proc(5)).
    """
    for link in glob.glob("/proc/[0-9]*/fd/*"):
        with contextlib.suppress(OSError, ValueError):
            if os.readlink(link) == path and _has_lock(link.replace("/fd/", "/fdinfo/"), byte):
                return int(link.split("/")[2])
    return 0


def _has_lock(info: str, byte: int) -> bool:
    with open(info, encoding="ascii", errors="replace") as stream:
        locks = [line.split() for line in stream if line.startswith("lock:")]
    return any(int(lock[-2]) <= byte and (lock[-1] == "EOF" or byte <= int(lock[-1])) for lock in locks)
