# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A test double of a guest agent: it listens on a unix socket as QEMU does, and answers what a test tells it."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ansible_collections.directdisk.qemu.tests.unit.fake_qmp import Listener

Answer = Callable[[dict[str, Any]], Any]


class FakeGuestAgent(Listener):
    """Answers commands with values, or with what functions make of a command's arguments.

    sync: the bytes that answer a sync with an id; None sends nothing.
    """

    def __init__(
        self,
        path: Path,
        answers: Mapping[str, Any] | None = None,
        *,
        sync: Callable[[int], bytes] | None = None,
    ) -> None:
        self.path = str(path)
        self.heard: list[tuple[str, dict[str, Any]]] = []
        self._answers = answers or {}
        self._sync = sync or answer_to_sync
        super().__init__(path)

    def _converse(self, connection: socket.socket) -> bool:
        with connection, connection.makefile("rb") as lines, contextlib.suppress(OSError):
            for line in lines:
                request = json.loads(line.lstrip(b"\xff"))
                command, arguments = request["execute"], request.get("arguments", {})
                if command == "guest-sync-delimited":
                    connection.sendall(self._sync(arguments["id"]))
                    continue
                self.heard.append((command, arguments))
                for data in self._answer(command, arguments):
                    connection.sendall(data)
        return True

    def _answer(self, command: str, arguments: dict[str, Any]) -> Iterator[bytes]:
        answer = self._answers.get(command, {})
        if callable(answer):
            answer = answer(arguments)
        if isinstance(answer, bytes):
            yield answer
        elif isinstance(answer, Iterator):
            yield from answer
        else:
            yield json.dumps(answer if isinstance(answer, dict) and "error" in answer else {"return": answer}).encode()
            yield b"\n"


def answer_to_sync(number: int) -> bytes:
    return b"\xff" + json.dumps({"return": number}).encode() + b"\n"
