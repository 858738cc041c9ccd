# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the host knows of names in declarations: addresses of servers, and what is behind paths."""

from __future__ import annotations

import os
import socket
import stat
import threading
from collections.abc import Iterable
from time import monotonic

SECONDS = 3.0
"""A resolver that does not answer must not hold up a run; what it does not tell by then is not known."""


def resolve(names: Iterable[str]) -> dict[str, list[str]]:
    """The addresses of each server, and the one thing that each path leads to; nothing for what is not known."""
    found: dict[str, list[str]] = {}
    waiting: list[threading.Thread] = []
    for name in names:
        if name.startswith("/"):
            found[name] = _behind(name)
            continue
        found[name] = []
        # Not a pool: the interpreter would wait for its threads at the end.
        thread = threading.Thread(target=_look_up, args=(name, found), daemon=True)
        thread.start()
        waiting.append(thread)
    until = monotonic() + SECONDS
    for thread in waiting:
        thread.join(max(0.0, until - monotonic()))
    return dict(found)


def _look_up(name: str, found: dict[str, list[str]]) -> None:
    try:
        answers = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return
    found[name] = sorted({str(answer[4][0]) for answer in answers})


def _behind(path: str) -> list[str]:
    """Device and number of a file, past links of both kinds; of a block device its numbers, or its file if it loops."""
    try:
        about = os.stat(path)
        if not stat.S_ISBLK(about.st_mode):
            return [f"inode:{about.st_dev}:{about.st_ino}"]
        device = f"{os.major(about.st_rdev)}:{os.minor(about.st_rdev)}"
        return _looped(device) or [f"device:{device}"]
    except OSError:
        return []


def _looped(device: str) -> list[str]:
    try:
        with open(f"/sys/dev/block/{device}/loop/backing_file", encoding="utf-8", errors="surrogateescape") as stream:
            return _behind(stream.read().rstrip("\n"))
    except OSError:
        return []
