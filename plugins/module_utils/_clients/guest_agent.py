# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The protocol of QEMU's guest agent (QEMU, docs/interop/qemu-ga-ref).

The guest answers, and may be hostile: whatever it sends is bounded in bytes and seconds.
"""

from __future__ import annotations

import errno
import json
import secrets
import socket
import time
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._clients.json_line import read_object
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import GuestAgentError
from ansible_collections.directdisk.qemu.plugins.module_utils._programs import vms_resume

ANSWER_LIMIT = 256 * 1024
"""Maximum size of an answer in bytes, unless a command is known to have longer ones."""
_SENTINEL = b"\xff"
"""Byte that no JSON text has. It makes the agent forget half a request, and stands before the answer to a sync."""
_NO_ANSWER = "does not answer: is the guest up, and does its service qemu-guest-agent run?"


class GuestAgent:
    """A session with the agent of one VM. Every wait ends at the deadline, which allow() sets again."""

    def __init__(self, connection: socket.socket, vm: str, *, deadline: float) -> None:
        self._connection = connection
        self._vm = vm
        self._deadline = deadline
        self._buffer = bytearray()
        self.lost = ""
        """The reason why no more answers are read: a late one would count as the answer to a later command."""
        self._synchronize()

    @classmethod
    def connect(cls, vm: str, path: str, *, deadline: float) -> GuestAgent:
        """Open a session by the unix socket of a running VM; deadline: as time.monotonic() counts."""
        try:
            connection = _connected(path, deadline)
        except OSError as error:
            raise GuestAgentError(f"vm {vm}: guest agent: {path}{_why_closed(error)}") from None
        try:
            return cls(connection, vm, deadline=deadline)
        except GuestAgentError:
            connection.close()
            raise

    def allow(self, seconds: float) -> None:
        """Restart the time limit."""
        self._deadline = time.monotonic() + seconds

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> GuestAgent:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def execute(self, command: str, arguments: dict[str, Any] | None = None, *, limit: int = ANSWER_LIMIT) -> Any:
        """Execute a command and return its value; raise GuestAgentError if it fails.

        limit: maximum size of the answer in bytes.
        """
        if self.lost:
            raise GuestAgentError(f"vm {self._vm}: guest agent: {command}: {self.lost}")
        self._send(b"", command, arguments)
        answer = self._receive(limit)
        if "return" not in answer:
            error = answer.get("error")
            message = error.get("desc", error) if isinstance(error, dict) else answer
            raise GuestAgentError(f"vm {self._vm}: guest agent: {command}: {str(message)[:_LONGEST_MESSAGE]}")
        return answer["return"]

    def _synchronize(self) -> None:
        """Skip what the agent still sends for earlier sessions, and requests that they have left half sent."""
        number = secrets.randbits(48)
        self._send(_SENTINEL, "guest-sync-delimited", {"id": number})
        while True:
            self._left()  # what has come already may be a flood of sentinels
            self._skip_sentinel()
            try:
                answer = read_object(self._line(ANSWER_LIMIT))
            except ValueError:
                continue
            if answer.get("return") == number:
                return

    def _skip_sentinel(self) -> None:
        """Discard everything up to the next sentinel."""
        while True:
            place = self._buffer.find(_SENTINEL)
            if place >= 0:
                del self._buffer[: place + 1]
                return
            self._buffer.clear()
            self._read()

    def _send(self, prefix: bytes, command: str, arguments: dict[str, Any] | None) -> None:
        request: dict[str, Any] = {"execute": command, **({"arguments": arguments} if arguments else {})}
        self._connection.settimeout(self._left())
        try:
            self._connection.sendall(prefix + json.dumps(request).encode() + b"\n")
        except OSError as error:
            raise self._lose(_words(error)) from None

    def _receive(self, limit: int) -> dict[str, Any]:
        try:
            return read_object(self._line(limit))
        except ValueError:
            raise self._lose("does not answer as a guest agent does") from None

    def _line(self, limit: int) -> bytes:
        searched = 0
        while True:
            end = self._buffer.find(b"\n", searched)
            if end >= 0:
                line = bytes(self._buffer[:end])
                del self._buffer[: end + 1]
                return line
            searched = len(self._buffer)
            if searched > limit:
                raise self._lose(f"its answer is longer than {limit} bytes")
            self._read()

    def _read(self) -> None:
        """Wait for more of what the agent sends."""
        self._connection.settimeout(self._left())
        try:
            data = self._connection.recv(1 << 20)
        except OSError as error:
            raise self._lose(_words(error)) from None
        if not data:
            raise self._lose("its VM has ended")
        self._buffer += data

    def _left(self) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise self._lose(_NO_ANSWER)
        return left

    def _lose(self, reason: str) -> GuestAgentError:
        """Read no more answers, for this reason."""
        self.lost = reason
        return GuestAgentError(f"vm {self._vm}: guest agent: {reason}")


_LONGEST_MESSAGE = 1000


def _connected(path: str, deadline: float) -> socket.socket:
    left = deadline - time.monotonic()
    if left <= 0:
        raise OSError("there was no time left to ask it")
    return vms_resume.connect(path, left)


def _why_closed(error: OSError) -> str:
    """Return why QEMU's socket cannot be used."""
    if isinstance(error, FileNotFoundError):
        return " is missing: the VM does not run, or was started without guest_agent: true"
    if error.errno == errno.EACCES:
        return ": permission denied: only root may connect to it (become of the hypervisor)"
    return f": {error.strerror or error}"


def _words(error: OSError) -> str:
    return _NO_ANSWER if isinstance(error, socket.timeout) else str(error.strerror or error)
