# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files with secrets, for one user alone."""

from __future__ import annotations

import os


def write_private(path: str, text: str, *, owner: tuple[int, int] | None = None) -> str:
    """Write a new file that only its owner can read, and return its path; FileExistsError if it exists.

    owner: user and group, by default those of this process. A link in its place is not followed: the folder may
    belong to a process that opens foreign data.
    """
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with open(handle, "w", encoding="utf-8") as stream:
        if owner:
            os.fchown(stream.fileno(), *owner)
        stream.write(text)
    return path
