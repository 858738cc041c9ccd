# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Connects to unix sockets that others may use, too, or may have put there, for the programs that do that as root."""

from __future__ import annotations

import errno
import os
import socket
import stat
import struct


def connect_in_turn(connection: socket.socket, address: str, seconds: float) -> None:
    """Connect to a listener that serves one client at a time, and limit the time of what follows.

    With a time limit of Python's alone, the kernel would not wait for its turn.
    """
    limit = struct.pack("ll", int(seconds), int(seconds % 1 * 1e6) or 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
    connection.connect(address)
    connection.settimeout(seconds)


def connect_by_handle(handle: int, seconds: float) -> tuple[socket.socket, int, int]:
    """Connect to the socket of a handle (O_PATH); return the connection, and the PID and the uid of its listener.

    By its handle, because its name may belong to another file by now.
    """
    connection = socket.socket(socket.AF_UNIX)
    try:
        if not stat.S_ISSOCK(os.fstat(handle).st_mode):
            raise PermissionError(errno.EPERM, "it is not a socket")
        connect_in_turn(connection, f"/proc/self/fd/{handle}", seconds)
        pid, uid, _gid = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    except OSError:
        connection.close()
        raise
    return connection, pid, uid
