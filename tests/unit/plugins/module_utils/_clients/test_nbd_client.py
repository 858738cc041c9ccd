# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The NBD client against a real server, and what becomes of the errors in its replies."""

from __future__ import annotations

import contextlib
import hashlib
import socket
import struct
import threading
import time
from pathlib import Path

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._clients.nbd import NbdClient
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError
from ansible_collections.directdisk.qemu.tests.unit.real_parts import MIB, nbd_server, needs_nbdkit

DATA = b"golden".ljust(2 * MIB + 512, b".")


@pytest.fixture
def image(tmp_path: Path) -> str:
    path = tmp_path / "image"
    path.write_bytes(DATA)
    return str(path)


@needs_nbdkit
def test_bytes_are_read_to_the_end_and_not_beyond(tmp_path: Path, image: str) -> None:
    with nbd_server(tmp_path, "file", image) as path, NbdClient(path, "", seconds=30) as client:
        assert client.size == len(DATA)
        assert client.read(0, 6) == b"golden"
        assert client.read(len(DATA) - 512, 4096) == DATA[-512:]
        assert client.read(len(DATA), 512) == b""
        assert client.sha256() == hashlib.sha256(DATA).hexdigest()


@needs_nbdkit
def test_an_error_in_a_reply_is_an_error(tmp_path: Path, image: str) -> None:
    """Without a look at it, the client would wait for data that does not come, or take other bytes for it."""
    broken = ("--filter=error", "file", image, "error-pread=EIO", "error-pread-rate=100%")
    with (
        nbd_server(tmp_path, *broken) as path,
        NbdClient(path, "", seconds=5) as client,
        pytest.raises(HostError, match=r"^NBD: error 5 at byte 1024$"),
    ):
        client.read(1024, 512)


@needs_nbdkit
def test_an_export_that_is_refused_is_an_error(tmp_path: Path, image: str) -> None:
    with nbd_server(tmp_path, "file", f"dir={tmp_path}") as path:
        with NbdClient(path, "image", seconds=5) as client:
            assert client.size == len(DATA)
        with pytest.raises(HostError, match=r"^NBD: the export is refused$"):
            NbdClient(path, "none", seconds=5)


def test_a_server_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(HostError, match=r"^NBD: .*No such file"):
        NbdClient(str(tmp_path / "none"), "", seconds=1)


def test_a_server_that_does_not_answer_is_an_error(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "s"))
        silent.listen()
        with pytest.raises(HostError, match="NBD: timed out"):
            NbdClient(str(tmp_path / "s"), "", seconds=0.2)


def reply(kind: int, data: bytes, length: int = -1) -> bytes:
    return struct.pack(">QIII", 0x3E889045565A9, 7, kind, len(data) if length < 0 else length) + data


@pytest.mark.parametrize(
    ("sent", "error"),
    [
        (reply(3, b"", 0xFFFFFFFF), r"^NBD: the server sends a reply of 4294967295 bytes$"),
        (reply(3, b"\0") + reply(1 << 31 | 1, b"no"), "^NBD: no$"),
        (reply(3, b"\0\0\1") + reply(1 << 31 | 1, b""), "^NBD: the export is refused$"),
        (reply(1 << 31 | 1, b"\xff\x1b[31m"), "NBD: "),
    ],
)
def test_odd_replies_are_errors(tmp_path: Path, sent: bytes, error: str) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "s"))
        listening.listen()

        def serve() -> None:
            connection, _address = listening.accept()
            with connection:
                connection.sendall(bytes(18) + sent)
                connection.recv(65536)

        server = threading.Thread(target=serve)
        server.start()
        with pytest.raises(HostError, match=error) as caught:
            NbdClient(str(tmp_path / "s"), "", seconds=5)
        assert "\x1b" not in str(caught.value)
        server.join()


def test_a_server_that_never_ends_its_answer_is_an_error(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "s"))
        listening.listen()

        def serve() -> None:
            connection, _address = listening.accept()
            with connection, contextlib.suppress(OSError):
                connection.sendall(bytes(18))
                for _number in range(300):
                    connection.sendall(reply(3, b"\0\3"))  # information that nobody asked for
                    time.sleep(0.01)

        server = threading.Thread(target=serve)
        server.start()
        with pytest.raises(HostError, match="NBD: timed out"):
            NbdClient(str(tmp_path / "s"), "", seconds=0.2)
        server.join()
