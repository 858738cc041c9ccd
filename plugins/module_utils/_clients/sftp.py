# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# pylint: disable=ansible-bad-function
"""File operations of SFTP 3 for images, through the ssh program (draft-ietf-secsh-filexfer-02)."""

from __future__ import annotations

import contextlib
import os
import posixpath
import select
import stat
import struct
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence

from ansible_collections.directdisk.qemu.plugins.module_utils._errors import AlreadyExistsError, HostError
from ansible_collections.directdisk.qemu.plugins.module_utils._programs.bounded_file import BoundedFile

_INIT, _OPEN, _CLOSE, _REMOVE, _STAT, _RENAME, _EXTENDED = 1, 3, 4, 13, 17, 18, 200
_STATUS, _HANDLE, _EXTENDED_REPLY = 101, 102, 201
_OK, _NO_SUCH_FILE = 0, 2
_WRITE_CREATE_EXCLUSIVELY = 0x2 | 0x8 | 0x20
_HAS_SIZE, _HAS_OWNER, _HAS_MODE = 1, 2, 4
_LONGEST = 1 << 18
"""Maximum size of a packet in bytes, as in OpenSSH."""
_ANSWER = struct.Struct(">BI")
_WORDS = 500
"""Maximum length of the server's message in an error."""
_TOO_SHORT = "SFTP server: its answer is too short"
_REPLACING_RENAME = b"posix-rename@openssh.com"
_FREE_SPACE = b"statvfs@openssh.com"
_SPACE = struct.Struct(">8xQ16xQ")
"""f_frsize and f_bavail of an answer to it (PROTOCOL of OpenSSH)."""


class Sftp:
    """A session. Relative paths begin in the user's home directory, as in QEMU."""

    def __init__(self, process: subprocess.Popen[bytes], errors: BoundedFile, *, seconds: float) -> None:
        """Connect; errors: error output of the process; seconds: time limit of a request."""
        self._process = process
        self._errors = errors
        self._seconds = seconds
        self._number = 0
        self._send(_INIT, struct.pack(">I", 3))
        self._receive()

    def kind(self, path: str) -> str:
        kind, data = self._ask(_STAT, _text(path))
        if kind == _STATUS:
            if _status(data) == _NO_SUCH_FILE:
                return "missing"
            raise _refusal(data)
        mode = _mode(data)
        return "file" if stat.S_ISREG(mode) else "directory" if stat.S_ISDIR(mode) else "other"

    def folder(self, path: str) -> str:
        return self.kind(posixpath.dirname(path) or ".")

    def make(self, path: str) -> None:
        attributes = struct.pack(">II", _HAS_MODE, 0o600)
        kind, data = self._ask(_OPEN, _text(path) + struct.pack(">I", _WRITE_CREATE_EXCLUSIVELY) + attributes)
        if kind != _HANDLE:
            self._refuse_taken(path)
            raise _refusal(data)
        self._check(_CLOSE, data)

    def put(self, path: str, place: str, *, overwrite: bool) -> None:
        """Rename a file. Without overwrite, the server itself refuses to replace a file that appeared meanwhile."""
        if overwrite:
            self._check(_EXTENDED, _text(_REPLACING_RENAME) + _text(path) + _text(place))
            return
        _kind, data = self._ask(_RENAME, _text(path) + _text(place))
        if _status(data) != _OK:
            self._refuse_taken(place)
            raise _refusal(data)

    def free(self, path: str) -> int | None:
        """Return the free bytes of the file system that the folder of a file is on; None if the server cannot tell."""
        folder = posixpath.dirname(path) or "."
        kind, data = self._ask(_EXTENDED, _text(_FREE_SPACE) + _text(folder))
        if kind != _EXTENDED_REPLY or len(data) < _SPACE.size:
            return None
        fragment, available = _SPACE.unpack_from(data)
        return int(fragment * available)

    def remove(self, path: str) -> None:
        _kind, data = self._ask(_REMOVE, _text(path))
        if _status(data) not in (_OK, _NO_SUCH_FILE):
            raise _refusal(data)

    def _refuse_taken(self, path: str) -> None:
        """Raise AlreadyExistsError if the file exists: this version of the protocol has no status code for it."""
        if self.kind(path) != "missing":
            raise AlreadyExistsError(f"{path} exists already")

    def _check(self, kind: int, data: bytes) -> None:
        _kind, answer = self._ask(kind, data)
        if _status(answer) != _OK:
            raise _refusal(answer)

    def _ask(self, kind: int, data: bytes) -> tuple[int, bytes]:
        self._number += 1
        self._send(kind, struct.pack(">I", self._number) + data)
        answer = self._receive()
        if len(answer) < _ANSWER.size:
            raise HostError(_TOO_SHORT)
        kind, asked = _ANSWER.unpack_from(answer)
        if asked != self._number:
            raise HostError(f"SFTP server: it answers request {asked}, and {self._number} was made")
        return kind, answer[_ANSWER.size :]

    def _send(self, kind: int, data: bytes) -> None:
        if self._process.stdin is None:
            raise AssertionError
        with contextlib.suppress(BrokenPipeError):  # the reader says why
            os.write(self._process.stdin.fileno(), struct.pack(">IB", len(data) + 1, kind) + data)

    def _receive(self) -> bytes:
        deadline = time.monotonic() + self._seconds
        (length,) = struct.unpack(">I", self._read(4, deadline))
        if not 1 <= length <= _LONGEST:
            raise HostError(f"it does not speak SFTP: it announces a packet of {length} bytes")
        return self._read(length, deadline)

    def _read(self, length: int, deadline: float) -> bytes:
        if self._process.stdout is None:
            raise AssertionError
        received = bytearray()
        while len(received) < length:
            left = max(deadline - time.monotonic(), 0)
            if not select.select([self._process.stdout], [], [], left)[0]:
                raise HostError(f"does not answer: timed out after {self._seconds:.0f} s")
            data = os.read(self._process.stdout.fileno(), length - len(received))
            if not data:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(max(deadline - time.monotonic(), 0))
                raise HostError(self._errors.last_line() or "ssh ended")
            received += data
        return bytes(received)


@contextlib.contextmanager
def session(command: Sequence[str], environment: Mapping[str, str], *, seconds: float) -> Iterator[Sftp]:
    """Run ssh with its subsystem; command: ssh and the command that confines it."""
    with (
        BoundedFile() as errors,
        subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors.handle,
            bufsize=0,
            env=dict(environment),
        ) as process,
    ):
        try:
            yield Sftp(process, errors, seconds=seconds)
        finally:
            process.kill()


def _text(text: str | bytes) -> bytes:
    data = text.encode() if isinstance(text, str) else text
    return struct.pack(">I", len(data)) + data


def _number(data: bytes, offset: int = 0) -> int:
    if len(data) < offset + 4:
        raise HostError(_TOO_SHORT)
    return int(struct.unpack_from(">I", data, offset)[0])


def _status(data: bytes) -> int:
    return _number(data)


def _refusal(data: bytes) -> HostError:
    """Return the server's words, which may be in any language, and the code that they stand for."""
    code, text = _status(data), data[8 : 8 + min(_number(data, 4), _WORDS)].decode(errors="replace")
    words = "".join(one if one.isprintable() else " " for one in text)
    return HostError(f"SFTP server: {words} (sftp error code: {code})")


def _mode(attributes: bytes) -> int:
    flags = _number(attributes)
    offset = 4 + (8 if flags & _HAS_SIZE else 0) + (8 if flags & _HAS_OWNER else 0)
    return _number(attributes, offset) if flags & _HAS_MODE else 0
