# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""two_faced_nbd.py PORT CLEAN HOSTILE: shows one image to who reads a whole header at once, another one to QEMU."""

from __future__ import annotations

import contextlib
import pathlib
import socket
import struct
import sys
import threading

CLEAN, HOSTILE = (pathlib.Path(name).read_bytes() for name in sys.argv[2:4])
SIZE = max(len(CLEAN), len(HOSTILE))
HEADER = 65536


def receive(client: socket.socket, length: int) -> bytes:
    data = b""
    while len(data) < length:
        piece = client.recv(length - len(data))
        if not piece:
            raise EOFError
        data += piece
    return data


def negotiate(client: socket.socket) -> bool:
    """Whether an export was chosen (NBD, doc/proto.md)."""
    client.sendall(b"NBDMAGICIHAVEOPT" + struct.pack(">H", 3))
    receive(client, 4)
    while True:
        _magic, option, length = struct.unpack(">QII", receive(client, 16))
        receive(client, length)
        reply = struct.Struct(">QIII")
        if option in (6, 7):
            client.sendall(reply.pack(0x3E889045565A9, option, 3, 12) + struct.pack(">HQH", 0, SIZE, 1))
            client.sendall(reply.pack(0x3E889045565A9, option, 1, 0))
            if option == 7:
                return True
        elif option == 2:
            return False
        else:
            client.sendall(reply.pack(0x3E889045565A9, option, 0x80000001, 0))


def serve(client: socket.socket) -> None:
    with client, contextlib.suppress(EOFError, OSError):
        while True:
            negotiate(client)
            while True:
                _magic, _flags, kind, cookie, offset, length = struct.unpack(">IHHQQI", receive(client, 28))
                if kind == 2:
                    return
                image = CLEAN if offset == 0 and length >= HEADER else HOSTILE
                data = image.ljust(SIZE, b"\0")[offset : offset + length] if kind == 0 else b""
                client.sendall(struct.pack(">IIQ", 0x67446698, 0, cookie) + data)


with socket.create_server(("", int(sys.argv[1]))) as server:
    while True:
        threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()
