# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Opens what a process of another user is given, for the programs that do that as root."""

from __future__ import annotations

import errno
import os
import stat


def open_path(path: str) -> int:
    """Return a handle (O_PATH) of a file that a process of another user is given; OSError if it must not be.

    A link is followed only if its folder is root's: whoever may write to the folder could lead root to any file.
    """
    folder = os.stat(os.path.dirname(path) or "/")
    foreign = folder.st_uid or folder.st_mode & 0o022
    handle = os.open(path, os.O_PATH | os.O_CLOEXEC | (os.O_NOFOLLOW if foreign else 0))
    if stat.S_ISLNK(os.fstat(handle).st_mode):
        os.close(handle)
        raise PermissionError(
            errno.EPERM, "it is a symbolic link, and its folder is not root's; declare the file itself"
        )
    return handle
