# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files in memory for the output of processes that a foreign server may make write without an end."""

from __future__ import annotations

import fcntl
import os

_MOST = 1 << 16
"""Bytes of messages that are read."""
_MESSAGE = 300
"""Characters of the last message that an error repeats."""
_SLACK = 4 << 20
"""Bytes that the kernel may refuse at once: a process that is refused anything has written more than may be read."""


class BoundedFile:
    """A file for standard output or error that the kernel keeps from growing; a process gets an error instead."""

    def __init__(self, most: int = _MOST) -> None:
        self.most = most
        self.handle = os.memfd_create("output", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(self.handle, most + _SLACK)
        fcntl.fcntl(self.handle, fcntl.F_ADD_SEALS, fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)

    def __enter__(self) -> BoundedFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        os.close(self.handle)

    @property
    def overflowed(self) -> bool:
        """Tell if more was written than may be read. The process shares the position in the file."""
        return os.lseek(self.handle, 0, os.SEEK_CUR) > self.most

    def text(self) -> str:
        """Return what was written, without the end of what is too long."""
        written = min(os.lseek(self.handle, 0, os.SEEK_CUR), self.most)
        return os.pread(self.handle, written, 0).decode(errors="replace")

    def last_line(self) -> str:
        """Return the beginning of the last line; empty if nothing was written."""
        lines = self.text().strip().splitlines()
        return lines[-1].strip()[:_MESSAGE] if lines else ""
