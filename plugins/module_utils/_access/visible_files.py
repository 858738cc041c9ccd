# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Shows files of this host to a confined process while it runs (open_tree(2); _programs/confined.py mounts them)."""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import stat
from collections.abc import Iterator, Sequence

from ansible_collections.directdisk.qemu.plugins.module_utils._errors import QmpError

# The number is the same on all architectures.
_SYS_OPEN_TREE = 428
_OPEN_TREE_CLONE, _OPEN_TREE_CLOEXEC, _AT_FDCWD, _AT_SYMLINK_NOFOLLOW = 1, 0o2000000, -100, 0x100
_SECONDS = 30
"""Seconds that the process may take to mount a file."""


class VisibleFiles:
    """Files that a confined process sees, each as long as it has a user."""

    def __init__(self) -> None:
        self._ours, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._ours.settimeout(_SECONDS)
        self._users: dict[str, int] = {}

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
            with contextlib.suppress(QmpError):
                self._tell(path, [])

    def _tell(self, path: str, handles: list[int]) -> None:
        try:
            socket.send_fds(self._ours, [os.fsencode(path)], handles)
            answer = self._ours.recv(4096).decode(errors="replace") or "the storage daemon has ended"
        except OSError as error:
            answer = str(error)
        if answer != "ok":
            raise QmpError(f"Could not open '{path}': {answer}")


def read_shown(path: str, length: int) -> bytes | None:
    """Return the first bytes of a file that can be shown; None if it is no regular file or cannot be read here."""
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY
    if _is_writable_by_others(os.path.dirname(path)):
        flags |= os.O_NOFOLLOW
    try:
        file = os.open(path, flags)
    except OSError:
        return None
    try:
        return os.pread(file, length, 0) if stat.S_ISREG(os.fstat(file).st_mode) else None
    except OSError:
        return None
    finally:
        os.close(file)


def _open_tree(path: str) -> int:
    """Open a file as a mount that can be moved to another place (open_tree(2)).

    A link is followed if its folder is root's: the process may open the files of every user, and a folder with fetched
    images belongs to the user that fetches them.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    flags = _OPEN_TREE_CLONE | _OPEN_TREE_CLOEXEC
    if _is_writable_by_others(os.path.dirname(path)):
        flags |= _AT_SYMLINK_NOFOLLOW
        if os.path.islink(path):
            raise QmpError(f"Could not open '{path}': it is a symbolic link, and its folder is not root's")
    handle = int(libc.syscall(_SYS_OPEN_TREE, _AT_FDCWD, os.fsencode(path), flags))
    if handle < 0:
        raise QmpError(f"Could not open '{path}': {os.strerror(ctypes.get_errno())}")
    return handle


def _is_writable_by_others(folder: str) -> bool:
    try:
        status = os.stat(folder)
    except OSError:
        return False
    return bool(status.st_uid or status.st_mode & 0o022)
