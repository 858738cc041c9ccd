# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A test double of QEMU: it speaks QMP on a unix socket and remembers what it was told."""

from __future__ import annotations

import contextlib
import json
import select
import socket
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self


class Listener:
    """A thread that serves the clients of a unix socket."""

    def __init__(self, path: Path) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A listener that is only closed keeps accept() waiting.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)

    def _serve(self) -> None:
        with self._listener, contextlib.suppress(OSError):
            while self._converse(self._listener.accept()[0]):
                pass

    def _converse(self, connection: socket.socket) -> bool:
        """Serve one client, and return if the listener goes on after it."""
        raise NotImplementedError


class FakeQemu(Listener):
    """Answers commands until one of ``ends_on`` comes; then it closes its monitor, as a QEMU that ends does.

    answers: by command, what is answered, or a function of the arguments that returns it.
    """

    def __init__(
        self,
        path: Path,
        *,
        answers: Mapping[str, Any] | None = None,
        ends_on: str = "quit",
        greets: bool = True,
        thinks: float = 0,
    ) -> None:
        self.path = str(path)
        self.heard: list[str] = []
        self.arguments: list[Any] = []
        self._answers = dict(answers or {})
        self._ends_on = ends_on
        self._greets = greets
        self._thinks = thinks
        super().__init__(path)

    def answer(self, command: str, answer: Any) -> None:
        """Answer a command so from now on."""
        self._answers[command] = answer

    def _converse(self, connection: socket.socket) -> bool:
        with connection, connection.makefile("r", encoding="utf-8") as lines:
            if not self._greets:
                connection.shutdown(socket.SHUT_WR)
                lines.readline()
                return False
            self._say(connection, {"QMP": {"version": {}, "capabilities": []}})
            for line in lines:
                request = json.loads(line)
                command = request["execute"]
                time.sleep(self._thinks)
                if self._has_gone(connection):
                    # QEMU executes nothing for a client that has not waited.
                    break
                self.heard.append(command)
                self.arguments.append(request.get("arguments"))
                if command == self._ends_on:
                    return False
                self._say(connection, {"event": "NOISE", "data": {}})
                answer = self._answers.get(command, {})
                answer = answer(request.get("arguments")) if callable(answer) else answer
                self._say(connection, answer if isinstance(answer, dict) and "error" in answer else {"return": answer})
        return True

    @staticmethod
    def _has_gone(connection: socket.socket) -> bool:
        return bool(select.select([connection], [], [], 0)[0]) and not connection.recv(1, socket.MSG_PEEK)

    @staticmethod
    def _say(connection: socket.socket, message: Mapping[str, Any]) -> None:
        connection.sendall(json.dumps(message).encode() + b"\r\n")


class FloodingMonitor(Listener):
    """A monitor that sends one piece of text without an end to each client."""

    def __init__(self, path: Path, piece: bytes = b"A" * 65536) -> None:
        self._piece = piece
        super().__init__(path)

    def _converse(self, connection: socket.socket) -> bool:
        with connection, contextlib.suppress(OSError):
            connection.settimeout(10)
            while True:
                connection.sendall(self._piece)
        return True
