# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""QEMU's monitor protocol over any connected socket (QEMU, docs/interop/qmp-spec.rst).

A guest may have broken into its QEMU: whatever is answered is bounded in bytes and seconds, and an error of this VM
alone.
"""

from __future__ import annotations

import json
import select
import socket
import time
from collections import deque
from collections.abc import Collection
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._clients.json_line import read_object
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import QmpError
from ansible_collections.directdisk.qemu.plugins.module_utils._programs import vms_resume

ANSWER_LIMIT = 8 * 1024**2
"""Maximum size of an answer in bytes. The answer about 300 disks with backing chains has about 3 MiB."""
OTHER_ANSWER = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""Errors of code that reads answers which are not those of QEMU."""
_MOST_EVENTS, _LONGEST_NAME = 1000, 200
"""Limits of what is remembered of events."""
_WHOLE_EVENT = 5.0
"""Seconds for the rest of an event whose beginning has come."""


class Monitor:
    """One QMP session. Every wait is bounded by the time limit given at the start, or later by allow()."""

    def __init__(self, connection: socket.socket, *, seconds: float, answer_limit: int = ANSWER_LIMIT) -> None:
        self._connection = connection
        self._answer_limit = answer_limit
        self._deadline = time.monotonic() + seconds
        self._buffer = bytearray()
        self._events: deque[tuple[str, str]] = deque(maxlen=_MOST_EVENTS)
        self.lost = ""
        """The reason why no more replies are read: a late one would count as the reply to a later command."""
        self.release = _release(self._receive())
        """Major and minor number of QEMU's release."""
        self.execute("qmp_capabilities")

    @classmethod
    def connect(cls, path: str, *, seconds: float = 5.0, answer_limit: int = ANSWER_LIMIT) -> Monitor:
        """Open a session with the QEMU that listens on a unix socket."""
        try:
            connection = vms_resume.connect(path, seconds)
        except OSError as error:
            raise QmpError(f"{path}: {error.strerror or error}") from None
        try:
            return cls(connection, seconds=seconds, answer_limit=answer_limit)
        except QmpError:
            connection.close()
            raise

    def allow(self, seconds: float) -> None:
        """Restart the time limit."""
        self._deadline = time.monotonic() + seconds

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Monitor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def execute(self, command: str, arguments: dict[str, Any] | None = None, *, descriptor: int | None = None) -> Any:
        """Execute a command and return its value; raise QmpError with QEMU's message if it fails.

        descriptor: an open file that QEMU gets with the command (add-fd, getfd).
        """
        reply = self.try_execute(command, arguments, descriptor=descriptor)
        if "error" in reply:
            error = reply["error"]
            raise QmpError(f"{command}: {error.get('desc', error) if isinstance(error, dict) else error}")
        return reply["return"]

    def try_execute(
        self, command: str, arguments: dict[str, Any] | None = None, *, descriptor: int | None = None
    ) -> dict[str, Any]:
        """Execute a command and return the whole reply, a return or an error."""
        if self.lost:
            raise QmpError(f"{command}: {self.lost}")
        request: dict[str, Any] = {"execute": command, **({"arguments": arguments} if arguments else {})}
        try:
            # The descriptor goes with the first byte.
            data = json.dumps(request).encode() + b"\n"
            sent = 0 if descriptor is None else socket.send_fds(self._connection, [data], [descriptor])
            self._connection.sendall(data[sent:])
        except OSError as error:
            raise QmpError(f"{command}: {error}") from None
        while True:
            message = self._receive()
            if "return" in message or "error" in message:
                return message
            self._keep(message)

    def wait_for_device_event(self, names: Collection[str], device: str, *, seconds: float) -> str:
        """Wait for an event about a device, also one that came before; return its name, empty if none came in time."""
        deadline = time.monotonic() + seconds
        while True:
            for event in self._events:
                if event[0] in names and event[1] == device:
                    self._events.remove(event)
                    return event[0]
            left = deadline - time.monotonic()
            if b"\n" not in self._buffer and (left <= 0 or not select.select([self._connection], [], [], left)[0]):
                return ""
            self.allow(_WHOLE_EVENT)
            self._keep(self._receive())

    def _keep(self, message: dict[str, Any]) -> None:
        """Remember an event about a device, by its id or, if it has none, by its path."""
        data = message.get("data")
        event, device = message.get("event"), data.get("device", data.get("path")) if isinstance(data, dict) else None
        if isinstance(event, str) and isinstance(device, str):
            self._events.append((event[:_LONGEST_NAME], device[:_LONGEST_NAME]))

    def _receive(self) -> dict[str, Any]:
        searched = 0
        while True:
            left = self._deadline - time.monotonic()
            if left <= 0:
                raise self._lose("QEMU does not answer: timed out")
            end = self._buffer.find(b"\n", searched)
            if end >= 0:
                break
            searched = len(self._buffer)
            if searched > self._answer_limit:
                raise self._lose(f"its answer is longer than {self._answer_limit} bytes, and QEMU's are not")
            self._connection.settimeout(left)
            try:
                data = self._connection.recv(65536)
            except OSError as error:
                raise self._lose(f"QEMU does not answer: {error}") from None
            if not data:
                raise self._lose("QEMU closed its monitor")
            self._buffer += data
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return self._read(line)

    def _read(self, line: bytes) -> dict[str, Any]:
        try:
            return read_object(line)
        except ValueError:
            raise self._lose("its monitor does not answer as QEMU does") from None

    def _lose(self, reason: str) -> QmpError:
        """Read no more replies, for this reason."""
        self.lost = reason
        return QmpError(reason)


def _release(greeting: dict[str, Any]) -> tuple[int, int]:
    """Return the release that a greeting names; 0, 0 if it names none."""
    try:
        numbers = greeting["QMP"]["version"]["qemu"]
        return int(numbers["major"]), int(numbers["minor"])
    except (KeyError, TypeError, ValueError):
        return 0, 0
