# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# pylint: disable=ansible-bad-function
# A program of its own, which no module runs in its own process.
"""qemu-vm-owner-path.py SECONDS: the processes of this host that have files or devices open for writing.

A program of storage_owner.py's, see there. It has to run as root: nobody else sees the files of other users' processes.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
import sys

ADVICE = "stop that process, or the VM that it is of"

Key = tuple[int, ...]


def key_of(path: str) -> Key:
    """Return the same text for two names of the same bytes; empty if the file is missing."""
    try:
        status = os.stat(path)
    except OSError:
        return ()
    is_device = stat.S_ISBLK(status.st_mode) or stat.S_ISCHR(status.st_mode)
    return (status.st_rdev,) if is_device else (status.st_dev, status.st_ino)


def read(path: str) -> str:
    """Read a file in /proc; empty if its process has ended."""
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read()
    except OSError:
        return ""


def writers(keys: set[Key]) -> dict[Key, list[str]]:
    """Return the processes that have each file or device open for writing."""
    found: dict[Key, list[str]] = {}
    for pid in (name for name in os.listdir("/proc") if name.isdecimal()):
        opened = set()
        with contextlib.suppress(OSError):
            for number in os.listdir(f"/proc/{pid}/fd"):
                key = key_of(f"/proc/{pid}/fd/{number}")
                if key in keys and writes(pid, number):
                    opened.add(key)
        for key in opened:
            found.setdefault(key, []).append(name_of(pid))
    return found


def writes(pid: str, number: str) -> bool:
    flags = re.search(r"^flags:\s*([0-7]+)", read(f"/proc/{pid}/fdinfo/{number}"), re.MULTILINE)
    return flags is not None and bool(int(flags.group(1), 8) & os.O_ACCMODE)


def name_of(pid: str) -> str:
    """Return the program, its PID and its unit. A process can choose its own name."""
    program = "".join(char if char.isprintable() else "?" for char in read(f"/proc/{pid}/comm").rstrip("\n"))
    units = re.findall(r"([^/\n]+\.(?:service|scope))$", read(f"/proc/{pid}/cgroup"), re.MULTILINE)
    return f"open by {program} (process {pid}{f' of {units[-1]}' if units else ''})"


if __name__ == "__main__":
    checks = [key_of(check["path"]) for check in json.load(sys.stdin)]
    opened_by = writers({key for key in checks if key})
    for wanted in checks:
        names = [{"name": name, "advice": ADVICE, "here": True} for name in opened_by.get(wanted, ())]
        print(json.dumps({"owners": names}))
