# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The answers of a LUN may be anything."""

from __future__ import annotations

import random
import struct
from typing import Any

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._clients.libiscsi import IscsiError, SenseError
from ansible_collections.directdisk.qemu.plugins.module_utils._clients.scsi import Command
from ansible_collections.directdisk.qemu.plugins.module_utils._images.lun import session

READ_CAPACITY = 0x9E


class Lun:
    """A LUN with one block size."""

    def __init__(self, block_size: int) -> None:
        self.block_size = block_size

    def ask(self, lun: int, command: Command) -> bytes:
        if command.block[0] == READ_CAPACITY:
            return struct.pack(">QI", 99, self.block_size).ljust(command.answer, b"\0")
        return bytes(command.answer)


@pytest.mark.parametrize("block_size", [512, 4096, 65536])
def test_blocks_have_a_usual_size(block_size: int) -> None:
    lun: Any = Lun(block_size)
    assert session.device_of(lun, 1).capacity == 100 * block_size


@pytest.mark.parametrize("block_size", [0, 1, 513, 1 << 20, 0xFFFFFFFF])
def test_a_block_that_would_take_any_memory_is_refused(block_size: int) -> None:
    lun: Any = Lun(block_size)
    with pytest.raises(IscsiError, match=f"^LUN 1 says that it has blocks of {block_size} bytes$"):
        session.device_of(lun, 1)


class Random:
    """A LUN that answers at random."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def ask(self, lun: int, command: Command) -> bytes:
        if self.random.random() < 0.1:
            raise SenseError(self.random.randrange(16), self.random.randrange(65536))
        return bytes(command.answer) if self.random.random() < 0.5 else self.random.randbytes(command.answer)


def test_random_answers_are_a_device_or_an_error() -> None:
    for seed in range(2000):
        lun: Any = Random(seed)
        try:
            session.luns_of(lun)
            assert (session.device_of(lun, 1).block_size or 512) <= 65536
        except (IscsiError, SenseError):
            pass
