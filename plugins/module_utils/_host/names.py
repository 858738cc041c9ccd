# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The resolution of names in declarations: addresses of servers, and the files and devices of paths."""

from __future__ import annotations

import os
import socket
import stat
import threading
from collections.abc import Iterable
from time import monotonic

SECONDS = 3.0
"""Time limit for the resolver, which must not delay a run; names without an answer by then count as unknown."""


def resolve(names: Iterable[str]) -> dict[str, list[str]]:
    """Return the addresses of each server, and the file or device of each path; an empty list if it is not known."""
    resolved: dict[str, list[str]] = {}
    waiting: list[threading.Thread] = []
    for name in names:
        if name.startswith("/"):
            resolved[name] = _file_of(name)
            continue
        resolved[name] = []
        # Not a pool: the interpreter waits for a pool's threads when it ends.
        thread = threading.Thread(target=_look_up, args=(name, resolved), daemon=True)
        thread.start()
        waiting.append(thread)
    until = monotonic() + SECONDS
    for thread in waiting:
        thread.join(max(0.0, until - monotonic()))
    return dict(resolved)


def _look_up(name: str, resolved: dict[str, list[str]]) -> None:
    try:
        answers = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return
    resolved[name] = sorted({str(answer[4][0]) for answer in answers})


def _file_of(path: str) -> list[str]:
    """Return device and inode number of a file; of a block device its numbers, of a loop device those of its file."""
    try:
        status = os.stat(path)
        if not stat.S_ISBLK(status.st_mode):
            return [f"inode:{status.st_dev}:{status.st_ino}"]
        device = f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"
        return _file_of_loop(device) or [f"device:{device}"]
    except OSError:
        return []


def _file_of_loop(device: str) -> list[str]:
    try:
        with open(f"/sys/dev/block/{device}/loop/backing_file", encoding="utf-8", errors="surrogateescape") as stream:
            return _file_of(stream.read().rstrip("\n"))
    except OSError:
        return []
