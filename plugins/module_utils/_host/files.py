# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that are replaced atomically."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator

from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError

TEMPORARY = ".qemu-vms-"
"""Prefix of temporary files; the next run removes those of a killed run."""


def make_folder(path: str) -> None:
    """Make a folder, and those above it, as far as they are missing; every user may enter it, whatever the umask.

    Raises HostError if its file system does not allow it.
    """
    if not os.path.isdir(path):
        make_folder(os.path.dirname(path))
        with _named(path, "is not made"):
            os.mkdir(path)
            os.chmod(path, 0o755)


def write_atomically(path: str, content: str | bytes, *, mode: int) -> None:
    """Replace a file atomically, and flush it to the disk; raise HostError if its file system does not allow it."""
    data = content.encode() if isinstance(content, str) else content
    with _named(path, "is not written, and stays as it was"):
        _write(path, data, mode)


@contextlib.contextmanager
def _named(path: str, what: str) -> Iterator[None]:
    """Name a file in the error of a file system, which is full or read-only."""
    try:
        yield
    except OSError as error:
        raise HostError(f"{path}: {what}: {error.strerror}") from error


def _write(path: str, data: bytes, mode: int) -> None:
    handle, temporary = tempfile.mkstemp(prefix=TEMPORARY, dir=os.path.dirname(path))
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fchmod(stream.fileno(), mode)
            os.fsync(stream.fileno())
        os.rename(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def remove_leftovers(folder: str) -> None:
    """Remove the temporary files of a run that was killed. Call it only while no other run can write."""
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(folder):
            if name.startswith(TEMPORARY):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(os.path.join(folder, name))


def read_text(path: str) -> str:
    """Return the text of a file as it is written; empty if it does not exist.

    Bytes that are no text, as an editor may have left them, become another text than any that is written here.
    """
    try:
        with open(path, encoding="utf-8", errors="replace", newline="") as stream:
            return stream.read()
    except FileNotFoundError:
        return ""
