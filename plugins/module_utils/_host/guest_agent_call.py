# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One call of the connection plugin guest_agent, on the hypervisor: a command in a guest, or a file into or out of it.

The plugin sends this file with what it imports, and one request; the answer goes to standard output.
"""

from __future__ import annotations

import base64
import contextlib
import json
import posixpath
import sys
import time
from collections.abc import Iterator
from typing import Any, BinaryIO, Callable, TypedDict

from ansible_collections.directdisk.qemu.plugins.module_utils._clients.guest_agent import GuestAgent
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import GuestAgentError

PIECE = 1 << 20
"""Bytes of a file in one request or answer."""
_OUTPUT_LIMIT = 45 << 20
"""Maximum size of an answer with output: an agent keeps 16 MiB of each stream, and base64 makes 4 bytes of 3."""
_PIECE_LIMIT = 2 * PIECE
_ATTENDED = 1.0
"""Seconds that a command may take before other clients of the agent get their turn between two questions."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.005, 1.0
_ENVIRONMENT = ("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "USER=root")
"""The agent's own environment has no home."""
_CREATE = 'umask 077 && set -C && : > "$1"'
_RENAME = 'if [ -d "$2" ]; then echo "$2 is a directory" >&2; exit 1; fi; mv -f -- "$1" "$2"'
_REMOVE = 'rm -f -- "$1"'


class Request(TypedDict):
    """The questions to the agent of one VM."""

    vm: str
    socket: str
    seconds: float
    """Time limit of each answer of the agent."""
    marker: str
    """Begins the answer: a login shell may have written something before."""
    action: str
    """A key of ACTIONS."""
    path: str
    """A file of the guest."""
    part: str
    """The name that it has until it is whole."""
    offset: int
    size: int
    """Maximum size of what is read from the file."""
    last: bool
    """If the file is whole with this piece."""
    command: str


class Answer(TypedDict, total=False):
    """The first line of an answer; output or content follow it."""

    problem: str
    unreachable: bool
    """If the agent was not reached, or what it did is not known."""
    code: int
    sizes: list[int]
    """Sizes of what follows: standard output and standard error, or content."""
    end: bool
    """If this is the end of the file."""


class _Failed(Exception):
    """The guest refused what was asked of it."""


class Guest:
    """The guest of one call. Sessions with its agent are short, because an agent has one client at a time."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self._agent: GuestAgent | None = None

    def ask(self, command: str, arguments: dict[str, Any], limit: int = _PIECE_LIMIT) -> Any:
        """Execute a command of the agent."""
        request = self.request
        if self._agent is None:
            deadline = time.monotonic() + request["seconds"]
            self._agent = GuestAgent.connect(request["vm"], request["socket"], deadline=deadline)
        self._agent.allow(request["seconds"])
        try:
            return self._agent.execute(command, arguments, limit=limit)
        except GuestAgentError as error:
            if self._agent.lost:
                self.leave()
                raise
            raise _Failed(str(error)) from None

    def leave(self) -> None:
        """End the session; the next question begins another one."""
        if self._agent:
            self._agent.close()
        self._agent = None

    def strange(self, command: str) -> _Failed:
        return _Failed(f"vm {self.request['vm']}: guest agent: {command}: does not answer as a guest agent does")

    def run(self, command: str, *arguments: str, data: bytes | None = None) -> tuple[int, bytes, bytes]:
        """Run a shell command in the guest; return its exit status, its output and its errors."""
        words = ["-c", command, "sh", *arguments] if arguments else ["-c", command]
        options: dict[str, Any] = {"path": "/bin/sh", "arg": words, "env": list(_ENVIRONMENT), "capture-output": True}
        if data:
            options["input-data"] = base64.b64encode(data).decode()
        started = time.monotonic()
        pid = _whole(self.ask("guest-exec", options), "pid", self.strange("guest-exec"))
        try:
            status = self._wait(pid, started)
        except (GuestAgentError, _Failed) as error:
            raise GuestAgentError(f"{error} (the command was started, and its end is not known)") from None
        return self._result(status)

    def _wait(self, pid: int, started: float) -> dict[str, Any]:
        pause = _FIRST_PAUSE
        while True:
            status = self.ask("guest-exec-status", {"pid": pid}, _OUTPUT_LIMIT)
            if not isinstance(status, dict):
                raise self.strange("guest-exec-status")
            if status.get("exited"):
                return status
            if time.monotonic() - started > _ATTENDED:
                self.leave()
            time.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE)

    def _result(self, status: dict[str, Any]) -> tuple[int, bytes, bytes]:
        strange = self.strange("guest-exec-status")
        if status.get("out-truncated") or status.get("err-truncated"):
            raise _Failed(
                f"vm {self.request['vm']}: the command has ended, and wrote more than its guest agent keeps (16 MiB): "
                "let it write to a file, and fetch that"
            )
        code = 128 + _whole(status, "signal", strange) if "signal" in status else _whole(status, "exitcode", strange)
        return code, _decoded(status.get("out-data", ""), strange), _decoded(status.get("err-data", ""), strange)

    def run_or_fail(self, command: str, *arguments: str) -> None:
        code, _output, errors = self.run(command, *arguments)
        if code:
            message = errors.decode(errors="replace").strip()[:1000]
            raise _Failed(f"vm {self.request['vm']}: {self.request['path']}: {message or f'exit status {code}'}")

    @contextlib.contextmanager
    def opened(self, path: str, mode: str) -> Iterator[int]:
        """Open a file of the guest. It is closed whatever happens: an agent that runs on keeps its handles."""
        strange = self.strange("guest-file-open")
        handle = _whole({"handle": self.ask("guest-file-open", {"path": path, "mode": mode})}, "handle", strange)
        try:
            yield handle
        except BaseException:
            with contextlib.suppress(GuestAgentError, _Failed):
                self.ask("guest-file-close", {"handle": handle})
            raise
        # What is written may only now reach the disk, or not.
        self.ask("guest-file-close", {"handle": handle})


def _whole(answer: Any, key: str, problem: Exception) -> int:
    value = answer.get(key) if isinstance(answer, dict) else None
    if not isinstance(value, int) or isinstance(value, bool):
        raise problem
    return value


def _decoded(text: Any, problem: Exception) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (TypeError, ValueError):
        raise problem from None


def _execute(guest: Guest, data: bytes) -> tuple[Answer, list[bytes]]:
    code, output, errors = guest.run(guest.request["command"], data=data)
    return {"code": code}, [output, errors]


def _put(guest: Guest, data: bytes) -> tuple[Answer, list[bytes]]:
    """Write a piece of a file under another name, which it has until it is whole; nobody else may read it."""
    request = guest.request
    part = posixpath.join(posixpath.dirname(request["path"]), request["part"])
    if not request["offset"]:
        guest.run_or_fail(_CREATE, part)
    try:
        with guest.opened(part, "r+") as handle:
            _go_to(guest, handle)
            _write(guest, handle, data)
        if request["last"]:
            guest.run_or_fail(_RENAME, part, request["path"])
    except BaseException:
        with contextlib.suppress(GuestAgentError, _Failed):
            guest.run(_REMOVE, part)
        raise
    return {}, []


def _write(guest: Guest, handle: int, data: bytes) -> None:
    strange = guest.strange("guest-file-write")
    place = 0
    while place < len(data):
        text = base64.b64encode(data[place : place + PIECE]).decode()
        count = _whole(guest.ask("guest-file-write", {"handle": handle, "buf-b64": text}), "count", strange)
        if not 0 < count <= PIECE:
            raise strange
        place += count


def _go_to(guest: Guest, handle: int) -> None:
    """Go to the place of a piece in its file."""
    if guest.request["offset"]:
        guest.ask("guest-file-seek", {"handle": handle, "offset": guest.request["offset"], "whence": 0})


def _fetch(guest: Guest, _data: bytes) -> tuple[Answer, list[bytes]]:
    request, content, end = guest.request, bytearray(), False
    strange = guest.strange("guest-file-read")
    with guest.opened(request["path"], "r") as handle:
        _go_to(guest, handle)
        while not end and len(content) < request["size"]:
            count = min(PIECE, request["size"] - len(content))
            answer = guest.ask("guest-file-read", {"handle": handle, "count": count})
            data = _decoded(answer.get("buf-b64", ""), strange) if isinstance(answer, dict) else b""
            if not isinstance(answer, dict) or len(data) > count:
                raise strange
            content += data
            end = bool(answer.get("eof")) or not data
    return {"end": end}, [bytes(content)]


ACTIONS: dict[str, Callable[[Guest, bytes], tuple[Answer, list[bytes]]]] = {
    "execute": _execute,
    "put": _put,
    "fetch": _fetch,
}


def call(request: Request, data: bytes) -> tuple[Answer, list[bytes]]:
    """Return the answer to a request, and what follows it."""
    guest = Guest(request)
    try:
        answer, parts = ACTIONS[request["action"]](guest, data)
    except GuestAgentError as error:
        return {"problem": str(error), "unreachable": True}, []
    except _Failed as error:
        return {"problem": str(error), "unreachable": False}, []
    finally:
        guest.leave()
    return {**answer, "sizes": [len(part) for part in parts]}, parts


def main(given: BinaryIO, output: BinaryIO) -> None:
    """Read a request and the data that follow it; write the answer."""
    request: Request = json.loads(given.readline())
    answer, parts = call(request, given.read())
    output.write(request["marker"].encode() + json.dumps(answer).encode() + b"\n")
    for part in parts:
        output.write(part)
    output.flush()


if __name__ == "__main__":
    main(sys.stdin.buffer, sys.stdout.buffer)
