# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two runs on one host take turns with the same disk."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import struct
import time
from collections.abc import Iterator

from ansible_collections.directdisk.qemu.plugins.module_utils._disk import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError

LOCK = "/run/qemu-disks.lock"
"""One file for all disks: each has a byte of it."""
_FLOCK = struct.Struct("hhqqi4x")
"""struct flock of fcntl(2): type, whence, start, length, process."""


@contextlib.contextmanager
def alone_with(disk: Disk, *, seconds: float) -> Iterator[None]:
    """Wait for other runs to be done with a disk; a run that is killed has let go of it."""
    digest = hashlib.sha256(disk.identity.encode()).digest()
    byte = int.from_bytes(digest[:7], "big")
    handle = os.open(LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _lock(handle, byte, time.monotonic() + seconds)
        yield
    finally:
        os.close(handle)


def _lock(handle: int, byte: int, deadline: float) -> None:
    """A lock of the open file, not of the process: the threads of a run are apart, too."""
    wanted = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, byte, 1, 0)
    while True:
        try:
            fcntl.fcntl(handle, fcntl.F_OFD_SETLK, wanted)
            return
        except (BlockingIOError, PermissionError):
            if time.monotonic() > deadline:
                raise HostError("another run on this host is at work on it; wait for its end") from None
            time.sleep(0.05)
