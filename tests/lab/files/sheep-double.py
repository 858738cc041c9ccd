# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""sheep-double.py --listen ADDRESS:PORT --directory DIRECTORY [--unix PATH]: a test double of a sheepdog node.

Not sheepdog: no cluster, no copies, no snapshots. It speaks what tgt's backing store "sheepdog" asks of a sheep, and
nothing else, for tests on systems that have no sheepdog any more. Every regular file DIRECTORY/NAME is a raw image and
is served as the VDI of that name. Nothing is kept beside the files, so an end at any moment (kill -9) loses nothing
that was acknowledged. An object of a VDI exists when its 4 MiB of the file hold anything but a hole.
"""

from __future__ import annotations

import argparse
import array
import functools
import os
import socket
import socketserver
import struct
import sys
import threading
import zlib
from pathlib import Path
from typing import Any

CREATE_AND_WRITE, READ, WRITE, LOCK, RELEASE, FLUSH = 0x01, 0x02, 0x03, 0x12, 0x13, 0x16
SUCCESS, NO_OBJECT, IO_ERROR, INVALID, NO_VDI, NO_TAG = 0x00, 0x02, 0x03, 0x05, 0x08, 0x0E
HAS_DATA = 0x01
COPY_ON_WRITE = 0x02

# The first 16 bytes of every header are version, operation, flags, epoch, id and data_length; all is little-endian.
REQUEST = struct.Struct("<BBHIII32s")
RESPONSE = struct.Struct("<BBHIIII28s")
OBJECT_REQUEST = struct.Struct("<QQB7xI4x")  # object, object to copy, copies, offset
VDI_REQUEST = struct.Struct("<QI4xII8x")  # size, number, snapshot, type of lock
VDI_RESPONSE = struct.Struct("<4xI4xBB14x")  # number, copies, block_size_shift
VDI_NAME = struct.Struct("256s256s")  # name, tag
INODE = struct.Struct("<256s256s5Q4B4I4092x")  # the numbers of the VDIs that hold its objects follow

COPIES = 1
OBJECT_SHIFT = 22
OBJECT_SIZE = 1 << OBJECT_SHIFT
OBJECTS = 1 << 20
INODE_SIZE = INODE.size + 4 * OBJECTS
INODE_OBJECT = 1 << 63


class Refused(Exception):
    """A request that is answered with an error: the number of the result."""


def vdi_number(name: str) -> int:
    """The same for a name at every start, as in a cluster that is restarted."""
    return zlib.crc32(name.encode()) & 0xFFFFFF or 1


def has_data(fd: int, index: int) -> bool:
    """Return if an object exists."""
    try:
        return os.lseek(fd, index * OBJECT_SIZE, os.SEEK_DATA) < (index + 1) * OBJECT_SIZE
    except OSError:  # nothing but a hole up to the end of the file
        return False


def inode(fd: int, name: str, number: int) -> bytes:
    """The whole inode object."""
    size = os.fstat(fd).st_size
    head = INODE.pack(name.encode(), b"", 1, 0, 0, size, 0, 0, 0, COPIES, OBJECT_SHIFT, 1, number, 0, 0)
    numbers = array.array("I", bytes(4 * OBJECTS))
    for index in range((size + OBJECT_SIZE - 1) // OBJECT_SIZE):
        if has_data(fd, index):
            numbers[index] = number
    if sys.byteorder == "big":
        numbers.byteswap()
    return head + numbers.tobytes()


class Sheep:
    """Served objects: the files of a folder."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def names(self) -> dict[int, str]:
        return {vdi_number(path.name): path.name for path in self.directory.iterdir() if path.is_file()}

    def name(self, number: int, missing: int) -> str:
        try:
            return self.names()[number]
        except KeyError:
            raise Refused(missing) from None

    def answer(self, operation: int, flags: int, length: int, details: bytes, data: bytes) -> tuple[bytes, bytes]:
        """The details of the response and its data."""
        if operation == LOCK:
            return self.lock(details, data), b""
        if operation == RELEASE:
            self.name(VDI_REQUEST.unpack(details)[1], NO_VDI)
            return b"", b""
        if operation == FLUSH:
            # This is how a sheep without an object cache says that there is nothing to flush.
            raise Refused(INVALID)
        if operation not in (CREATE_AND_WRITE, READ, WRITE) or (operation != READ and len(data) != length):
            raise Refused(INVALID)
        number, _copied, _copies, offset = OBJECT_REQUEST.unpack(details)
        name = self.name(number >> 32 & 0xFFFFFF, NO_OBJECT)
        fd = os.open(self.directory / name, os.O_RDONLY if operation == READ else os.O_RDWR)
        try:
            if number & INODE_OBJECT:
                return b"", self.on_inode(operation, fd, name, offset, length, data)
            if flags & COPY_ON_WRITE:
                raise Refused(INVALID)  # there are no snapshots and no clones to copy from
            return b"", self.on_object(operation, fd, number & 0xFFFFFFFF, offset, length, data)
        finally:
            os.close(fd)

    def lock(self, details: bytes, data: bytes) -> bytes:
        """Find a VDI. Locks are shared, so nobody is kept out."""
        if len(data) != VDI_NAME.size:
            raise Refused(INVALID)
        name, tag = (field.split(b"\0")[0].decode(errors="replace") for field in VDI_NAME.unpack(data))
        number = vdi_number(name)
        if self.names().get(number) != name:
            raise Refused(NO_VDI)
        if tag or VDI_REQUEST.unpack(details)[2]:
            raise Refused(NO_TAG)
        return VDI_RESPONSE.pack(number, COPIES, OBJECT_SHIFT)

    @staticmethod
    def on_inode(operation: int, fd: int, name: str, offset: int, length: int, data: bytes) -> bytes:
        if offset + length > INODE_SIZE:
            raise Refused(INVALID)
        number = vdi_number(name)
        if operation == READ:
            if offset + length <= VDI_NAME.size:  # the frequent question whether the inode is still valid
                return VDI_NAME.pack(name.encode(), b"")[offset : offset + length]
            return inode(fd, name, number)[offset : offset + length]
        # A client says which objects it has created. The file knows that already.
        told = {data[at : at + 4] for at in range(0, len(data), 4)}
        if operation != WRITE or offset < INODE.size or not told <= {bytes(4), number.to_bytes(4, "little")}:
            raise Refused(INVALID)
        return b""

    @staticmethod
    def on_object(operation: int, fd: int, index: int, offset: int, length: int, data: bytes) -> bytes:
        start = index * OBJECT_SIZE
        end = min(start + OBJECT_SIZE, os.fstat(fd).st_size)
        if index >= OBJECTS or offset + length > OBJECT_SIZE or start + offset + len(data) > end:
            raise Refused(INVALID)
        exists = has_data(fd, index)
        if operation == CREATE_AND_WRITE:
            if exists:  # a new object takes the place of an old one
                data = (bytes(offset) + data).ljust(end - start, b"\0")
                offset = 0
        elif not exists:
            raise Refused(NO_OBJECT)
        if operation == READ:
            return os.pread(fd, length, start + offset).ljust(length, b"\0")
        if os.pwrite(fd, data, start + offset) < len(data):
            raise Refused(IO_ERROR)
        return b""


def receive(connection: socket.socket, length: int) -> bytes:
    data = bytearray()
    while len(data) < length:
        part = connection.recv(min(length - len(data), 1 << 20))
        if not part:
            raise ConnectionError
        data += part
    return bytes(data)


class Connection(socketserver.BaseRequestHandler):
    """One request at a time, until the client closes."""

    def __init__(self, sheep: Sheep, *args: Any) -> None:
        self.sheep = sheep
        super().__init__(*args)

    def handle(self) -> None:
        try:
            while True:
                self.one_request()
        except ConnectionError:
            pass

    def one_request(self) -> None:
        head = receive(self.request, REQUEST.size)
        _version, operation, flags, _epoch, _id, length, details = REQUEST.unpack(head)
        if length > INODE_SIZE:
            raise ConnectionError
        data = receive(self.request, length) if flags & HAS_DATA else b""
        result, told, sent = SUCCESS, b"", b""
        try:
            told, sent = self.sheep.answer(operation, flags, length, details, data)
        except Refused as error:
            result = error.args[0]
        except OSError as error:
            print(f"sheep-double: {error}", file=sys.stderr)
            result = IO_ERROR
        self.request.sendall(RESPONSE.pack(0, operation, 0, 1, 0, len(sent), result, told) + sent)


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


class UnixServer(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True


def main() -> None:
    parser = argparse.ArgumentParser(description="A test double of a sheepdog node, for tgt alone.")
    parser.add_argument("--listen", required=True, metavar="ADDRESS:PORT")
    parser.add_argument("--directory", required=True, type=Path)
    parser.add_argument("--unix", type=Path, metavar="PATH")
    args = parser.parse_args()
    address, _colon, port = args.listen.rpartition(":")
    handler = functools.partial(Connection, Sheep(args.directory))
    server = Server((address, int(port)), handler)
    if args.unix:
        args.unix.unlink(missing_ok=True)
        local = UnixServer(str(args.unix), handler)
        args.unix.chmod(0o666)
        threading.Thread(target=local.serve_forever, daemon=True).start()
    print("sheep-double: listening on {}:{}".format(*server.server_address), flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
