# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""replaced.py FILE PLACE FILE PLACE ... -- COMMAND...: become a command that sees other files than the host has.

Each FILE stands at PLACE for the command alone. Where PLACE is in a folder that is not there, or does not exist, the
folder is hidden by an empty one. A FILE of "" hides the folder PLACE.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import sys

# linux/sched.h, linux/mount.h
CLONE_NEWNS = 0x20000
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000

libc = ctypes.CDLL(None, use_errno=True)


def check(result: int, what: str) -> None:
    if result:
        raise SystemExit(f"{what}: {os.strerror(ctypes.get_errno())}")


def mount(source: str, target: str, kind: str, flags: int) -> None:
    check(libc.mount(source.encode(), target.encode(), kind.encode(), flags, None), f"mount {target}")


def hide(folder: str) -> None:
    if os.path.isdir(folder):
        mount("tmpfs", folder, "tmpfs", 0)


def replace(file: str, place: str) -> None:
    if os.path.exists(place):
        mount(file, place, "", MS_BIND)
        return
    hide(os.path.dirname(place))
    os.makedirs(os.path.dirname(place), exist_ok=True)
    shutil.copyfile(file, place)


def main(arguments: list[str]) -> None:
    end = arguments.index("--")
    check(libc.unshare(CLONE_NEWNS), "unshare")
    mount("none", "/", "", MS_REC | MS_PRIVATE)
    for file, place in zip(arguments[:end:2], arguments[1:end:2]):
        replace(file, place) if file else hide(place)
    command = arguments[end + 1 :]
    os.execv(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
