# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""SCSI commands as they stand on the wire, and answers of LUNs: those of tgt were recorded."""

from __future__ import annotations

import struct

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._clients import scsi

INQUIRY = bytes.fromhex("00000512 3d000002") + b"IET     VIRTUAL-DISK    0001" + bytes(20)


@pytest.mark.parametrize(
    "command, block, answer",
    [
        (scsi.report_luns(), "a00000000000000020000000", 8192),
        (scsi.inquiry(), "12000000ff00", 255),
        (scsi.inquiry(0xB2), "1201b200ff00", 255),
        (scsi.test_unit_ready(), "000000000000", 0),
        (scsi.read_capacity(), "9e100000000000000000000000200000"[:32], 32),
        (scsi.mode_sense(), "1a003f00ff00", 255),
        (scsi.read(2**33, 256, 512), "88000000000200000000000001000000", 131072),
    ],
)
def test_a_command_is_laid_out_as_the_standard_says(command: scsi.Command, block: str, answer: int) -> None:
    assert (command.block.hex(), command.answer) == (block, answer)


def luns(*fields: str) -> bytes:
    body = b"".join(bytes.fromhex(field) for field in fields)
    return struct.pack(">I4x", len(body)) + body + bytes(64)


@pytest.mark.parametrize(
    "fields, expected",
    [
        ((), []),
        (("0000000000000000", "0001000000000000", "0002000000000000"), [0, 1, 2]),
        (("0002000000000000", "0001000000000000", "0001000000000000"), [1, 2]),
        (("4100000000000000", "7fff000000000000"), [256, 16383]),
        (("0101000000000000", "c101000000000000", "0001000100000000", "8001000000000000"), []),
    ],
)
def test_only_luns_that_are_plain_numbers_can_be_declared(fields: tuple[str, ...], expected: list[int]) -> None:
    assert scsi.luns_of(luns(*fields)) == expected


def test_a_list_that_is_longer_than_its_answer_ends_with_the_answer() -> None:
    assert scsi.luns_of(struct.pack(">I4x", 800) + bytes.fromhex("0001000000000000")) == [1]


def test_a_device_says_what_it_is() -> None:
    expected = {"type": "disk", "vendor": "IET", "model": "VIRTUAL-DISK", "revision": "0001"}
    assert scsi.device_of(INQUIRY) == expected
    assert scsi.device_of(b"\x0c" + INQUIRY[1:]) == {**expected, "type": "controller"}
    assert scsi.device_of(b"\x1e" + INQUIRY[1:]) == {**expected, "type": "type 30"}
    assert scsi.device_of(b"\x7f" + INQUIRY[1:]) is None


def page(code: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0, code, len(body)) + body + bytes(32)


def test_a_serial_number_is_without_its_padding() -> None:
    assert scsi.serial_of(page(0x80, b"                              beaf11")) == "beaf11"
    assert scsi.serial_of(page(0x80, b"abc\0\0\0")) == "abc"
    assert scsi.serial_of(bytes(4)) == ""


def test_the_best_name_of_a_device_is_taken() -> None:
    text = bytes([2, 1, 0, 8]) + b"IET 0001"
    numbered = bytes.fromhex("01030008 3000000100000001")
    port = bytes.fromhex("01130008 5000000000000009")
    assert scsi.identity_of(page(0x83, text + port + numbered)) == "naa.3000000100000001"
    assert scsi.identity_of(page(0x83, text)) == "t10.IET 0001"
    assert scsi.identity_of(page(0x83, port)) == ""
    assert scsi.identity_of(page(0x83, numbered[:2])) == ""


def test_a_capacity_is_in_bytes() -> None:
    answer = struct.pack(">QI", 2**32, 512) + bytes([0, 3, 0xC0, 0]) + bytes(16)
    assert scsi.capacity_of(answer) == {
        "capacity": (2**32 + 1) * 512,
        "block_size": 512,
        "physical_block_size": 4096,
        "thin": True,
        "reads_zeroes": True,
    }


def test_pages_of_provisioning() -> None:
    assert scsi.provisioning_of(page(0xB2, bytes([0, 0xE4, 2, 0]))) == {"provisioning": "thin", "unmap": True}
    assert scsi.provisioning_of(bytes(4)) == {"provisioning": "full", "unmap": False}
    assert scsi.limits_of(page(0xB0, bytes(24) + struct.pack(">I", 8) + bytes(32)), 512) == {"unmap_granularity": 4096}
    assert scsi.limits_of(bytes(4), 512) == {"unmap_granularity": 0}


def test_write_protection_stands_in_the_header() -> None:
    assert scsi.write_protected(bytes([3, 0, 0x90, 8]))
    assert not scsi.write_protected(bytes([3, 0, 0x10, 8]))
