# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""libgfapi.py VOLUME SERVERS kind|make|put|replace|remove|resize PATH...: one file operation on a GlusterFS volume.

SERVERS: JSON, as QEMU's gluster driver has it. It is a program of its own, because libgfapi can crash, and takes ten
seconds to say goodbye. It ends with the number of the error (errno(3)), and with its words.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import sys


class Failed(Exception):
    def __init__(self, number: int, words: str) -> None:
        super().__init__(words)
        self.number = number


class Volume:
    """A volume of a cluster."""

    def __init__(self, name: str, servers: str) -> None:
        try:
            self.gfapi = ctypes.CDLL("libgfapi.so.0", use_errno=True)
        except OSError:
            raise Failed(errno.ENOENT, "this host has no libgfapi, which QEMU's gluster driver brings") from None
        for function in ("glfs_new", "glfs_creat", "glfs_opendir", "glfs_open"):
            getattr(self.gfapi, function).restype = ctypes.c_void_p
        self.volume = ctypes.c_void_p(self.gfapi.glfs_new(name.encode()))
        self.gfapi.glfs_set_logging(self.volume, b"/dev/null", 0)
        for server in json.loads(servers):
            host = server["path"] if server["type"] == "unix" else server["host"]
            kind = b"unix" if server["type"] == "unix" else b"tcp"
            self.gfapi.glfs_set_volfile_server(self.volume, kind, host.encode(), int(server.get("port", 0)))
        if self.gfapi.glfs_init(self.volume):
            number = ctypes.get_errno()
            raise Failed(
                number or errno.EIO, f"Gluster connection for volume {name} failed to connect: {os.strerror(number)}"
            )

    def call(self, operation: str, *arguments: object) -> None:
        if getattr(self.gfapi, f"glfs_{operation}")(self.volume, *arguments):
            raise _failed()

    def kind(self, path: str) -> str:
        try:
            self.call("access", path.encode(), os.F_OK)
        except Failed as error:
            if error.number == errno.ENOENT:
                return "missing"
            raise
        return "directory" if self.gfapi.glfs_opendir(self.volume, path.encode()) else "file"

    def make(self, path: str) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        handle = self._opened(self.gfapi.glfs_creat(self.volume, path.encode(), flags, 0o600))
        self.gfapi.glfs_close(ctypes.c_void_p(handle))

    @staticmethod
    def _opened(handle: int | None) -> int:
        if not handle:
            raise _failed()
        return handle

    def resize(self, path: str, size: str, preallocation: str) -> None:
        """Give a file this size; falloc and full allocate its space, the latter by writing zeroes."""
        handle = ctypes.c_void_p(self._opened(self.gfapi.glfs_open(self.volume, path.encode(), os.O_RDWR)))
        length = ctypes.c_int64(int(size))
        if preallocation == "falloc":
            failed = self.gfapi.glfs_fallocate(handle, 0, ctypes.c_int64(0), length)
        else:
            # Since GlusterFS 6 it has two more parameters, for results; an older one ignores them.
            failed = self.gfapi.glfs_ftruncate(handle, length, None, None)
        if not failed and preallocation == "full":
            failed = self.gfapi.glfs_zerofill(handle, ctypes.c_int64(0), length)
        if failed or self.gfapi.glfs_close(handle):
            raise _failed("Could not resize file")

    def put(self, path: str, place: str) -> None:
        """Link and unlink a file: a rename would replace one that appeared meanwhile."""
        self.call("link", path.encode(), place.encode())
        self.call("unlink", path.encode())

    def replace(self, path: str, place: str) -> None:
        self.call("rename", path.encode(), place.encode())

    def remove(self, path: str) -> None:
        try:
            self.call("unlink", path.encode())
        except Failed as error:
            if error.number != errno.ENOENT:
                raise


def _failed(what: str = "Could not open image") -> Failed:
    number = ctypes.get_errno()
    return Failed(number, f"{what}: {os.strerror(number)}")


def main(arguments: list[str]) -> None:
    volume, servers, operation, *paths = arguments
    try:
        sys.stdout.write(getattr(Volume(volume, servers), operation)(*paths) or "")
        sys.stdout.flush()
    except Failed as error:
        sys.stderr.write(f"{error}\n")
        os._exit(min(error.number, 125) or errno.EIO)
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
