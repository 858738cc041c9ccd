# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""QEMU's monitor protocol over any connected socket (QEMU, docs/interop/qmp-spec.rst)."""

from __future__ import annotations

import json
import socket
import time
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._errors import QmpError


class Monitor:
    """One QMP session. Every wait is bounded by the time limit given at the start, or later by allow()."""

    def __init__(self, connection: socket.socket, *, seconds: float) -> None:
        self._connection = connection
        self._deadline = time.monotonic() + seconds
        self._buffer = b""
        self.lost = ""
        """Why there will be no more replies: one that came too late would be taken for that to a later command."""
        self._receive()  # the greeting
        self.execute("qmp_capabilities")

    @classmethod
    def connect(cls, path: str, *, seconds: float = 5.0) -> Monitor:
        """A session with the QEMU that listens on a unix socket."""
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(seconds)
        try:
            connection.connect(path)
            return cls(connection, seconds=seconds)
        except OSError as error:
            connection.close()
            raise QmpError(f"{path}: {error.strerror or error}") from None
        except QmpError:
            connection.close()
            raise

    def allow(self, seconds: float) -> None:
        """Begin the time limit anew."""
        self._deadline = time.monotonic() + seconds

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Monitor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def execute(self, command: str, arguments: dict[str, Any] | None = None) -> Any:
        """The command's return value; QmpError with QEMU's words where it refuses."""
        reply = self.try_execute(command, arguments)
        if "error" in reply:
            raise QmpError(f"{command}: {reply['error'].get('desc', reply['error'])}")
        return reply["return"]

    def try_execute(self, command: str, arguments: dict[str, Any] | None = None) -> dict[str, Any]:
        """The whole reply, be it a return or an error."""
        if self.lost:
            raise QmpError(f"{command}: {self.lost}")
        request: dict[str, Any] = {"execute": command, **({"arguments": arguments} if arguments else {})}
        try:
            self._connection.sendall(json.dumps(request).encode() + b"\n")
        except OSError as error:
            raise QmpError(f"{command}: {error}") from None
        while True:
            message = self._receive()
            if "return" in message or "error" in message:
                return message

    def _receive(self) -> dict[str, Any]:
        while b"\n" not in self._buffer:
            self._connection.settimeout(max(self._deadline - time.monotonic(), 0.001))
            try:
                data = self._connection.recv(65536)
            except OSError as error:
                self.lost = f"QEMU does not answer: {error}"
                raise QmpError(self.lost) from None
            if not data:
                self.lost = "QEMU closed its monitor"
                raise QmpError(self.lost)
            self._buffer += data
        line, _newline, self._buffer = self._buffer.partition(b"\n")
        message: dict[str, Any] = json.loads(line)
        return message
