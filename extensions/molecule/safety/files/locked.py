# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""locked.py hold | count: hold the lock of the runs of a host; or count the other processes that have its file open."""

from __future__ import annotations

import contextlib
import fcntl
import glob
import os
import struct
import sys
import time

LOCK = "/run/qemu-vms.lock"


def hold() -> None:
    handle = os.open(LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.fcntl(handle, fcntl.F_OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 1, 0))
    time.sleep(120)


def count() -> None:
    users = set()
    for link in glob.glob("/proc/[0-9]*/fd/*"):
        with contextlib.suppress(OSError):
            if os.readlink(link) == LOCK:
                users.add(link.split("/")[2])
    print(len(users))


if __name__ == "__main__":
    {"hold": hold, "count": count}[sys.argv[1]]()
