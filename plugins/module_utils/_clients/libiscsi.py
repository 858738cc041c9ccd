# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# pylint: disable=ansible-bad-function
"""A session with an iSCSI target, by libiscsi in a process of its own. The host's kernel knows nothing of it."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import IO, Any, cast

from ansible_collections.directdisk.qemu.plugins.module_utils._clients.json_line import read_object
from ansible_collections.directdisk.qemu.plugins.module_utils._clients.scsi import Command
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError
from ansible_collections.directdisk.qemu.plugins.module_utils._process.run import PYTHON, text_of
from ansible_collections.directdisk.qemu.plugins.module_utils._programs import iscsi_session

_MARGIN = 10.0
"""Seconds beyond its own time limit in which the process must answer; a confined one needs some of them to begin."""
_MOST = 4 << 20
"""Bytes of an answer; a command reads much less."""


class IscsiError(HostError):
    """A request to a portal or target failed, in libiscsi's words."""


class LibraryMissing(HostError):
    """This host has no libiscsi."""


class SenseError(HostError):
    """A LUN refused a command."""

    def __init__(self, key: int, code: int) -> None:
        self.key = key
        self.code = code
        super().__init__(f"sense key {key}, code {code:#06x}")


@dataclass(frozen=True)
class Login:
    """Parameters of a session, the same as QEMU's."""

    host: str
    port: int
    target: str
    """Empty for discovery of the portal's targets."""
    user: str
    password: str = field(repr=False)
    initiator: str
    header_digest: int
    """Member of enum iscsi_header_digest."""
    transport: int
    """Member of enum iscsi_transport_type."""


class Session:
    """A session with a target, or a discovery session with a portal; no call takes longer than ``seconds``."""

    def __init__(self, begin: Sequence[str], login: Login, *, seconds: float) -> None:
        """begin: the command that confines the process."""
        self._seconds = seconds
        portal = f"{_address_of(login.host, seconds)}:{login.port}"
        self._process = subprocess.Popen(
            [*begin, *PYTHON, "-c", text_of(iscsi_session)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self._requests: IO[bytes] = cast("IO[bytes]", self._process.stdin)
        self._answers: IO[bytes] = cast("IO[bytes]", self._process.stdout)
        try:
            with _sound():
                self._request({"portal": portal, "seconds": seconds, **asdict(login)})
        except BaseException:
            self._process.kill()
            self.close()
            raise

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Log out; also ends if the target does not answer any more."""
        with self._process:
            with contextlib.suppress(BrokenPipeError):
                self._requests.close()
            try:
                self._process.wait(_MARGIN)
            except subprocess.TimeoutExpired:
                self._process.kill()

    def targets(self) -> dict[str, list[str]]:
        """Return the portals of each target, by discovery."""
        with _sound():
            listed = self._request({})["targets"].items()
            return {str(target): [str(portal) for portal in portals] for target, portals in listed}

    def ask(self, lun: int, command: Command) -> bytes:
        """Return a LUN's answer, filled up with zeroes; raise SenseError if it refuses the command."""
        with _sound():
            answer = self._request({"lun": lun, "block": command.block.hex(), "length": command.answer})
            return base64.b64decode(answer["data"])[: command.answer].ljust(command.answer, b"\0")

    def _request(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Return the answer of the process to a request."""
        with contextlib.suppress(BrokenPipeError):  # what it said before it ended is read
            self._requests.write(json.dumps(request).encode() + b"\n")
            self._requests.flush()
        answer = read_object(self._line())
        if "missing" in answer:
            raise LibraryMissing(str(answer["missing"]))
        if "sense" in answer:
            raise SenseError(*map(int, answer["sense"]))
        if "error" in answer:
            raise IscsiError(str(answer["error"]))
        return answer

    def _line(self) -> bytes:
        deadline, line = time.monotonic() + self._seconds + _MARGIN, b""
        while not line.endswith(b"\n"):
            if not select.select([self._answers], [], [], max(deadline - time.monotonic(), 0))[0]:
                raise IscsiError(f"timed out after {self._seconds:g} s")
            piece = os.read(self._answers.fileno(), 1 << 16)
            line += piece
            if not piece or len(line) > _MOST:
                raise ValueError("no whole line")
        return line


@contextlib.contextmanager
def _sound() -> Iterator[None]:
    """Translate the errors about an answer that is none: a target may have crashed the process, or taken it over."""
    try:
        yield
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise IscsiError("the process that speaks iSCSI has ended, or gives no sound answer") from None


def _address_of(host: str, seconds: float) -> str:
    """Resolve a host to its address, an IPv6 address in brackets. libiscsi's own resolving has no time limit."""
    found: list[Any] = []

    def resolve() -> None:
        with contextlib.suppress(OSError):
            found.extend(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM))

    resolver = threading.Thread(target=resolve, daemon=True)
    resolver.start()
    resolver.join(seconds)
    if not found:
        raise IscsiError(f"Can not resolve {host}")
    address = str(found[0][4][0])
    return f"[{address}]" if ":" in address else address
