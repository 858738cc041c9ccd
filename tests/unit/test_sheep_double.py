# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's test double of a sheepdog node, asked as tgt asks a sheep."""

from __future__ import annotations

import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.directdisk.qemu.tests.unit.support import UNIT_TESTS

PROGRAM = UNIT_TESTS.parent / "lab" / "files" / "sheep-double.py"
CREATE, READ, WRITE, LOCK, RELEASE, FLUSH, DISCARD = 0x01, 0x02, 0x03, 0x12, 0x13, 0x16, 0x05
OBJECT = 4 << 20
INODE_SIZE = 4_198_968
NUMBERS = 4664
"""Where in an inode the numbers of the VDIs that hold its objects begin."""


class Sheep:
    """A double that runs, and one connection to it."""

    def __init__(self, directory: Path, *options: str) -> None:
        self.command = [sys.executable, "-IS", str(PROGRAM), f"--directory={directory}", "--listen=127.0.0.1:0"]
        self.command += options
        self.start()

    def __enter__(self) -> Sheep:
        return self

    def __exit__(self, *_error: object) -> None:
        self.kill()

    def start(self) -> None:
        self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout
        port = self.process.stdout.readline().rpartition(":")[2]
        self.connection = socket.create_connection(("127.0.0.1", int(port)), timeout=10)

    def kill(self) -> None:
        self.connection.close()
        self.process.kill()
        self.process.communicate()

    def ask(self, operation: int, flags: int, details: bytes, data: bytes = b"", wanted: int = 0) -> tuple[int, bytes]:
        """The result, and what came with it: the details of the answer where there is no data."""
        head = struct.pack("<BBHIII", 1, operation, flags, 0, 0, len(data) or wanted)
        self.connection.sendall(head + details.ljust(32, b"\0") + data)
        answer = self.receive(48)
        version, echoed, _flags, epoch, number, length, result = struct.unpack_from("<BBHIIII", answer)
        assert (version, echoed, epoch, number) == (0, operation, 1, 0)
        return result, self.receive(length) if length else answer[20:]

    def receive(self, length: int) -> bytes:
        data = b""
        while len(data) < length:
            data += self.connection.recv(length - len(data))
        return data

    def lock(self, name: str, tag: str = "") -> tuple[int, int]:
        data = name.encode().ljust(256, b"\0") + tag.encode().ljust(256, b"\0")
        result, details = self.ask(LOCK, 0x01, struct.pack("<16xIII", 0, 1, 0), data)
        copies, shift = details[12:14]
        assert result or (copies, shift) == (1, 22)
        return result, struct.unpack_from("<I", details, 4)[0]

    def read(self, number: int, offset: int, length: int) -> tuple[int, bytes]:
        result, data = self.ask(READ, 0x20, struct.pack("<QQB7xI", number, 0, 1, offset), wanted=length)
        return result, b"" if result else data

    def write(self, operation: int, number: int, offset: int, data: bytes, flags: int = 0x25) -> int:
        return self.ask(operation, flags, struct.pack("<QQB7xI", number, 0, 1, offset), data)[0]


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """Two whole objects and a half; only the second holds data."""
    path = tmp_path / "disk"
    with path.open("wb") as file:
        file.truncate(2 * OBJECT + OBJECT // 2)
        file.seek(OBJECT + 512)
        file.write(b"data")
    return path


@pytest.fixture
def sheep(image: Path) -> Iterator[Sheep]:
    with Sheep(image.parent) as sheep:
        yield sheep


def inode_of(vid: int) -> int:
    return 1 << 63 | vid << 32


def object_of(vid: int, index: int) -> int:
    return vid << 32 | index


def test_the_inode_says_which_objects_exist(sheep: Sheep) -> None:
    result, vid = sheep.lock("disk")
    assert result == 0
    result, inode = sheep.read(inode_of(vid), 0, INODE_SIZE)
    assert (result, len(inode), inode[:8]) == (0, INODE_SIZE, b"disk\0\0\0\0")
    assert struct.unpack_from("<Q", inode, 536) == (2 * OBJECT + OBJECT // 2,)
    assert struct.unpack_from("<BBBBIII", inode, 552) == (0, 0, 1, 22, 1, vid, 0)
    assert struct.unpack_from("<4I", inode, NUMBERS) == (0, vid, 0, 0)
    assert sheep.read(inode_of(vid), 0, 1) == (0, b"d")


def test_an_object_is_read_and_written(sheep: Sheep, image: Path) -> None:
    vid = sheep.lock("disk")[1]
    assert sheep.read(object_of(vid, 1), 510, 8) == (0, b"\0\0data\0\0")
    assert sheep.write(WRITE, object_of(vid, 1), 514, b"rk") == 0
    assert sheep.read(object_of(vid, 1), 512, 4) == (0, b"dark")
    assert image.read_bytes()[OBJECT + 512 : OBJECT + 516] == b"dark"


def test_what_was_written_survives_a_kill(sheep: Sheep) -> None:
    vid = sheep.lock("disk")[1]
    assert sheep.read(object_of(vid, 2), 0, 1)[0] == 0x02
    assert sheep.write(WRITE, object_of(vid, 2), 0, b"x") == 0x02
    assert sheep.write(CREATE, object_of(vid, 2), 4096, b"new") == 0
    assert sheep.write(WRITE, inode_of(vid), NUMBERS + 8, struct.pack("<I", vid), 0x21) == 0
    sheep.kill()
    sheep.start()
    assert sheep.read(object_of(vid, 2), 4095, 5) == (0, b"\0new\0")
    assert sheep.read(inode_of(vid), NUMBERS, 12) == (0, struct.pack("<3I", 0, vid, vid))


def test_a_new_object_takes_the_place_of_an_old_one(sheep: Sheep) -> None:
    vid = sheep.lock("disk")[1]
    assert sheep.write(CREATE, object_of(vid, 1), 1024, b"new") == 0
    assert sheep.read(object_of(vid, 1), 512, 516) == (0, bytes(512) + b"new\0")


def test_closing_a_vdi(sheep: Sheep) -> None:
    vid = sheep.lock("disk")[1]
    assert sheep.ask(FLUSH, 0, struct.pack("<Q", inode_of(vid)))[0] == 0x05  # a sheep without a cache, says tgt
    assert sheep.ask(RELEASE, 0, struct.pack("<QI8xI", 0, vid, 1))[0] == 0


@pytest.mark.parametrize(("name", "tag", "result"), [("other", "", 0x08), ("../disk", "", 0x08), ("disk", "t", 0x0E)])
def test_there_are_only_files_of_the_folder(sheep: Sheep, name: str, tag: str, result: int) -> None:
    assert sheep.lock(name, tag)[0] == result


def test_what_makes_no_sense_is_invalid(sheep: Sheep) -> None:
    vid = sheep.lock("disk")[1]
    assert sheep.ask(DISCARD, 0, b"")[0] == 0x05
    assert sheep.read(object_of(vid, 1), OBJECT - 1, 2)[0] == 0x05
    assert sheep.write(CREATE, object_of(vid, 2), OBJECT // 2, b"behind the end") == 0x05
    assert sheep.write(WRITE, inode_of(vid), 536, bytes(8), 0x21) == 0x05
    assert sheep.write(WRITE, inode_of(vid), NUMBERS, struct.pack("<I", vid + 1), 0x21) == 0x05
    assert sheep.write(CREATE, object_of(vid, 0), 0, b"copy on write", 0x27) == 0x05
    assert sheep.read(object_of(vid + 1, 0), 0, 1)[0] == 0x02


def test_several_clients_are_served_at_once(sheep: Sheep, image: Path) -> None:
    vid = sheep.lock("disk")[1]
    with socket.create_connection(sheep.connection.getpeername(), timeout=10) as other:
        other.sendall(b"\1")  # the first byte of a request whose rest never comes
        assert sheep.read(inode_of(vid), 0, 4) == (0, b"disk")


def test_a_unix_socket_serves_the_same(image: Path, tmp_path: Path) -> None:
    local = tmp_path / "sock"
    with Sheep(image.parent, f"--unix={local}") as sheep:
        sheep.connection.close()
        sheep.connection = socket.socket(socket.AF_UNIX)
        sheep.connection.connect(str(local))
        assert sheep.lock("disk")[0] == 0
