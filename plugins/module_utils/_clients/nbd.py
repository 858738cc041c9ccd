# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small NBD client that reads some bytes of a disk (NBD, doc/proto.md)."""

from __future__ import annotations

import hashlib
import socket
import struct
import time
from types import TracebackType

from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError

_OPTION_MAGIC = 0x49484156454F5054
_OPTION_REPLY = struct.Struct(">QIII")  # magic, option, type, length
_REQUEST = struct.Struct(">IHHQQI")  # magic, flags, type, cookie, offset, length
_REQUEST_MAGIC = 0x25609513
_REPLY = struct.Struct(">IIQ")  # magic, error, cookie
_GO, _ACK, _INFO, _INFO_EXPORT = 7, 1, 3, 0
_EXPORT = struct.Struct(">HQ")  # type, size
_LONGEST = 1 << 16
"""Bytes of a reply to an option; all that are known are much shorter."""
_FIXED_NEWSTYLE_NO_ZEROES = 3
_READ, _DISCONNECT = 0, 2
BLOCK = 1 << 20
"""Size of a request in bytes."""


class NbdClient:
    """An export on a unix socket."""

    def __init__(self, path: str, export: str, *, seconds: float) -> None:
        """Connect; seconds: time limit of a request, and of the negotiation before the first one."""
        self._socket = socket.socket(socket.AF_UNIX)
        self._seconds = seconds
        self._begin()
        try:
            self._socket.connect(path)
            self.size = self._negotiate(export)
        except BaseException as error:
            self._socket.close()
            if isinstance(error, OSError):
                raise HostError(f"NBD: {error}") from None
            raise

    def __enter__(self) -> NbdClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._begin()
            self._send(_DISCONNECT, 0, 0)
        self._socket.close()

    def read(self, offset: int, length: int) -> bytes:
        """Read bytes of the export; fewer at its end."""
        length = max(min(length, self.size - offset), 0)
        return self._ask(offset, length) if length else b""

    def sha256(self) -> str:
        digest = hashlib.sha256()
        for offset in range(0, self.size, BLOCK):
            digest.update(self.read(offset, BLOCK))
        return digest.hexdigest()

    def _negotiate(self, export: str) -> int:
        """Negotiate, and return the size of the export."""
        self._receive(18)  # two magic numbers, and flags that every server of this style has
        name = export.encode()
        self._socket.sendall(
            struct.pack(">IQIII", _FIXED_NEWSTYLE_NO_ZEROES, _OPTION_MAGIC, _GO, len(name) + 6, len(name))
            + name
            + struct.pack(">H", 0)
        )
        size = 0
        while True:
            _magic, _option, kind, length = _OPTION_REPLY.unpack(self._receive(_OPTION_REPLY.size))
            if length > _LONGEST:
                raise HostError(f"NBD: the server sends a reply of {length} bytes")
            data = self._receive(length)
            if kind == _INFO and data.startswith(struct.pack(">H", _INFO_EXPORT)) and len(data) >= _EXPORT.size:
                (_type, size) = _EXPORT.unpack_from(data)
            elif kind == _ACK:
                return int(size)
            elif kind != _INFO:
                raise HostError(f"NBD: {data.decode(errors='replace') or 'the export is refused'}")

    def _begin(self) -> None:
        """Begin a request with the whole time limit, of which the one before it may have left little."""
        self._socket.settimeout(self._seconds)
        self._until = time.monotonic() + self._seconds

    def _send(self, kind: int, offset: int, length: int) -> None:
        self._socket.sendall(_REQUEST.pack(_REQUEST_MAGIC, 0, kind, 0, offset, length))

    def _ask(self, offset: int, length: int) -> bytes:
        self._begin()
        try:
            self._send(_READ, offset, length)
            _magic, error, _cookie = _REPLY.unpack(self._receive(_REPLY.size))
            if error:
                raise HostError(f"NBD: error {error} at byte {offset}")
            return self._receive(length)
        except OSError as problem:
            raise HostError(f"NBD: {problem}") from None

    def _receive(self, length: int) -> bytes:
        received = bytearray()
        while len(received) < length:
            # Not for each part: a server that sends a byte now and then would never end.
            self._socket.settimeout(max(self._until - time.monotonic(), 0.001))
            data = self._socket.recv(length - len(received))
            if not data:
                raise HostError("NBD: the server has gone")
            received += data
        return bytes(received)
