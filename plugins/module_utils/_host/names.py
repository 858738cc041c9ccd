# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The resolution of names in declarations: addresses of servers, and the files and devices of paths."""

from __future__ import annotations

import glob
import os
import socket
import stat
import threading
from collections.abc import Iterable
from time import monotonic

from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.identities import WITHIN

SECONDS = 3.0
"""Time limit for the resolver, which must not delay a run; names without an answer by then count as unknown."""


_DEVICES = "/sys/dev/block"
"""Block devices by their numbers (sysfs(5))."""


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
    """Return device and inode number of a file; of a block device its numbers, of a loop device those of its file.

    The devices of which a block device is a part, or on which it stands, follow with the prefix WITHIN.
    """
    try:
        status = os.stat(path)
        if not stat.S_ISBLK(status.st_mode):
            return [f"inode:{status.st_dev}:{status.st_ino}"]
        device = f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"
        return [*_whole(device), *(f"{WITHIN}{one}" for other in _devices_below(device) for one in _whole(other))]
    except OSError:
        return []


def _whole(device: str) -> list[str]:
    return _file_of_loop(device) or [f"device:{device}"]


def _file_of_loop(device: str) -> list[str]:
    try:
        with open(f"{_DEVICES}/{device}/loop/backing_file", encoding="utf-8", errors="surrogateescape") as stream:
            return _file_of(stream.read().rstrip("\n"))
    except OSError:
        return []


def _devices_below(device: str) -> list[str]:
    """Return the numbers of the disk of a partition, and of the devices below a logical volume or another mapping."""
    folder = f"{_DEVICES}/{device}"
    places = glob.glob(f"{folder}/slaves/*")
    if os.path.exists(f"{folder}/partition"):
        places.append(os.path.dirname(os.path.realpath(folder)))
    below: list[str] = []
    for place in places:
        with open(f"{place}/dev", encoding="ascii") as stream:
            number = stream.read().strip()
        below += [number, *_devices_below(number)]
    return sorted(set(below))
