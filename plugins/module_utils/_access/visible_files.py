# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Shows files of this host to a confined process while it runs (open_tree(2); _programs/confined.py mounts them)."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import socket
import stat
from collections.abc import Iterator, Sequence
from typing import IO

from ansible_collections.directdisk.qemu.plugins.module_utils._errors import QmpError
from ansible_collections.directdisk.qemu.plugins.module_utils._programs.opened_path import open_path

# The number is the same on all architectures.
_SYS_OPEN_TREE = 428
_OPEN_TREE_CLONE, _OPEN_TREE_CLOEXEC, _AT_EMPTY_PATH = 1, 0o2000000, 0x1000
_SECONDS = 30
"""Seconds that the process may take to mount a file."""


class VisibleFiles:
    """Files that a confined process sees, each as long as it has a user."""

    def __init__(self) -> None:
        self._ours, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._ours.settimeout(_SECONDS)
        self._users: dict[str, int] = {}
        self.lost = False
        """A request had no answer, or a file could not be hidden: a later answer would be taken for that to another."""

    def close(self) -> None:
        self._ours.close()
        self.theirs.close()

    @contextlib.contextmanager
    def shown(self, paths: Sequence[str]) -> Iterator[None]:
        """Show files to the process; errors have QEMU's form, because QEMU opens the files."""
        with contextlib.ExitStack() as stack:
            for path in paths:
                self._show(path)
                stack.callback(self._hide, path)
            yield

    def _show(self, path: str) -> None:
        if not self._users.get(path):
            handle = _open_tree(path)
            try:
                self._tell(path, [handle])
            finally:
                os.close(handle)
        self._users[path] = self._users.get(path, 0) + 1

    def _hide(self, path: str) -> None:
        self._users[path] -= 1
        if not self._users[path]:
            try:
                self._tell(path, [])
            except QmpError:
                self.lost = True

    def _tell(self, path: str, handles: list[int]) -> None:
        if self.lost:
            raise QmpError(f"Could not open '{path}': the storage daemon no longer takes files")
        try:
            socket.send_fds(self._ours, [os.fsencode(path)], handles)
            answer = self._ours.recv(4096).decode(errors="replace") or "the storage daemon has ended"
        except OSError as error:
            self.lost = True
            answer = str(error)
        if answer != "ok":
            raise QmpError(f"Could not open '{path}': {answer}")


def read_shown(path: str, length: int) -> bytes | None:
    """Return the first bytes of a file that can be shown; None if it is no regular file or cannot be read here."""
    try:
        with open_regular(path) as file:
            return os.pread(file.fileno(), length, 0)
    except OSError:
        return None


def open_regular(path: str) -> IO[bytes]:
    """Open a regular file that can be shown for reading; OSError if it is something else."""
    handle = open_path(path)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file")
        return open(f"/proc/self/fd/{handle}", "rb")
    finally:
        os.close(handle)


def _open_tree(path: str) -> int:
    """Open a file as a mount that can be moved to another place (open_tree(2))."""
    try:
        file = open_path(path)
    except OSError as error:
        raise QmpError(f"Could not open '{path}': {error.strerror}") from None
    libc = ctypes.CDLL(None, use_errno=True)
    flags = _OPEN_TREE_CLONE | _OPEN_TREE_CLOEXEC | _AT_EMPTY_PATH
    try:
        handle = int(libc.syscall(_SYS_OPEN_TREE, file, b"", flags))
    finally:
        os.close(file)
    if handle < 0:
        raise QmpError(f"Could not open '{path}': {os.strerror(ctypes.get_errno())}")
    return handle
