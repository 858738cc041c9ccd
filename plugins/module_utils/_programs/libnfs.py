# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""libnfs.py SERVER FOLDER UID GID SECONDS kind|make|put|replace|remove NAME...: one file operation on an NFS server.

It is a program of its own, because libnfs may wait for a server for as long as it likes. It ends with the number of
the error (errno(3)), and with its words.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import sys

VERSIONS = range(20, 7, -1)


class Failed(Exception):
    def __init__(self, number: int, words: str) -> None:
        super().__init__(words)
        self.number = number


def load() -> ctypes.CDLL:
    for name in [*(f"libnfs.so.{version}" for version in VERSIONS), "libnfs.so"]:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    raise Failed(errno.ENOENT, "this host has no libnfs, which QEMU's nfs driver brings")


class Folder:
    """A directory of a server."""

    def __init__(self, server: str, folder: str, user: str, group: str, seconds: int) -> None:
        self.nfs = load()
        self.nfs.nfs_init_context.restype = ctypes.c_void_p
        self.nfs.nfs_get_error.restype = ctypes.c_char_p
        self.context = ctypes.c_void_p(self.nfs.nfs_init_context())
        if user:
            self.nfs.nfs_set_uid(self.context, int(user))
        if group:
            self.nfs.nfs_set_gid(self.context, int(group))
        self.nfs.nfs_set_timeout(self.context, seconds * 1000)
        self.call("mount", server.encode(), folder.encode())

    def call(self, operation: str, *arguments: object) -> None:
        result = getattr(self.nfs, f"nfs_{operation}")(self.context, *arguments)
        if result:
            words = self.nfs.nfs_get_error(self.context) or os.strerror(abs(result)).encode()
            raise Failed(min(abs(result), 125), words.decode(errors="replace"))

    def kind(self, name: str) -> str:
        # struct nfs_stat_64: numbers of 64 bits, of which the third is the mode.
        found = (ctypes.c_uint64 * 64)()
        try:
            self.call("stat64", name.encode(), ctypes.byref(found))
        except Failed as error:
            if error.number == errno.ENOENT:
                return "missing"
            raise
        mode = found[2]
        return "file" if stat.S_ISREG(mode) else "directory" if stat.S_ISDIR(mode) else "other"

    def make(self, name: str) -> None:
        handle = ctypes.c_void_p()
        self.call("create", name.encode(), os.O_EXCL, 0o600, ctypes.byref(handle))
        self.call("close", handle)

    def put(self, name: str, place: str) -> None:
        """Link and unlink a file: a rename would replace one that appeared meanwhile."""
        self.call("link", name.encode(), place.encode())
        self.call("unlink", name.encode())

    def replace(self, name: str, place: str) -> None:
        self.call("rename", name.encode(), place.encode())

    def remove(self, name: str) -> None:
        try:
            self.call("unlink", name.encode())
        except Failed as error:
            if error.number != errno.ENOENT:
                raise


def main(arguments: list[str]) -> None:
    server, folder, user, group, seconds, operation, *names = arguments
    try:
        sys.stdout.write(getattr(Folder(server, folder, user, group, int(seconds)), operation)(*names) or "")
        sys.stdout.flush()
    except Failed as error:
        sys.stderr.write(f"{error}\n")
        os._exit(error.number)
    # Without a farewell to a server that may not answer.
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
