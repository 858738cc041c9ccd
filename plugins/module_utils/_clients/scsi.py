# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""SCSI commands that describe a LUN, and parsers of their answers (SPC-4, SBC-3). Pure."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TypedDict

TYPES = {0x00: "disk", 0x01: "tape", 0x05: "cd-rom", 0x07: "optical disk", 0x08: "changer", 0x0C: "controller"}

SERIAL_PAGE, IDENTITY_PAGE, LIMITS_PAGE, PROVISIONING_PAGE = 0x80, 0x83, 0xB0, 0xB2
_NO_LUN_HERE = 3
"""Peripheral qualifier of a LUN that the target does not support."""
_PROVISIONING = {1: "resource", 2: "thin"}
_IDENTITIES = {3: "naa", 2: "eui", 1: "t10"}
"""Types of designators, the most reliable first."""


@dataclass(frozen=True)
class Command:
    """A command descriptor block, and the maximum size of its answer."""

    block: bytes
    answer: int


def report_luns(most: int = 8192) -> Command:
    return Command(struct.pack(">BxBxxxIxx", 0xA0, 0, most), most)


def inquiry(page: int | None = None, most: int = 255) -> Command:
    """Build INQUIRY: standard data, or a page of vital product data."""
    return Command(struct.pack(">BBBHx", 0x12, page is not None, page or 0, most), most)


def test_unit_ready() -> Command:
    return Command(bytes(6), 0)


def read_capacity() -> Command:
    return Command(struct.pack(">BB8xIxx", 0x9E, 0x10, 32), 32)


def mode_sense() -> Command:
    """Build MODE SENSE(6) of all pages, for the header only."""
    return Command(struct.pack(">BBBxBx", 0x1A, 0, 0x3F, 255), 255)


def read(block: int, blocks: int, block_size: int) -> Command:
    return Command(struct.pack(">BxQIxx", 0x88, block, blocks), blocks * block_size)


def luns_of(answer: bytes) -> list[int]:
    """Return the LUNs in an answer to REPORT LUNS that are plain numbers."""
    length = min(int.from_bytes(answer[:4], "big"), len(answer) - 8)
    fields = [answer[start : start + 8] for start in range(8, 8 + length - 7, 8)]
    return sorted({number for number in map(_lun_number, fields) if number is not None})


def _lun_number(field: bytes) -> int | None:
    """Return the number in peripheral or flat addressing of one level (SAM-5, 4.7); None for other forms."""
    method, first = field[0] >> 6, (field[0] & 0x3F) << 8 | field[1]
    if any(field[2:]) or method > 1 or (method == 0 and first > 255):
        return None
    return first


class Inquiry(TypedDict):
    """The standard answer to INQUIRY."""

    type: str
    vendor: str
    model: str
    revision: str


class Capacity(TypedDict):
    """The answer to READ CAPACITY(16)."""

    capacity: int
    """Bytes."""
    block_size: int
    physical_block_size: int
    thin: bool
    reads_zeroes: bool


class Provisioning(TypedDict):
    """The page of logical block provisioning."""

    provisioning: str
    unmap: bool


class Limits(TypedDict):
    """The page of block limits."""

    unmap_granularity: int
    """Bytes; 0 if the target reports none."""


def device_of(answer: bytes) -> Inquiry | None:
    """Return the answer to INQUIRY; None if there is no such LUN."""
    if answer[0] >> 5 == _NO_LUN_HERE:
        return None
    kind = answer[0] & 0x1F
    return {
        "type": TYPES.get(kind, f"type {kind}"),
        "vendor": _text(answer[8:16]),
        "model": _text(answer[16:32]),
        "revision": _text(answer[32:36]),
    }


def serial_of(page: bytes) -> str:
    return _text(_body(page, SERIAL_PAGE))


def identity_of(page: bytes) -> str:
    """Return the worldwide unique name of the device, if the target has one."""
    body = _body(page, IDENTITY_PAGE)
    found: dict[str, str] = {}
    while len(body) >= 4:
        code_set, kind, length = body[0] & 0x0F, body[1] & 0x3F, body[3]
        value, body = body[4 : 4 + length], body[4 + length :]
        if kind in _IDENTITIES:  # with association 0: of the LUN itself, not of the target or its port
            name = _IDENTITIES[kind]
            found.setdefault(name, f"{name}.{value.hex() if code_set == 1 else _text(value)}")
    return next((found[name] for name in _IDENTITIES.values() if name in found), "")


def capacity_of(answer: bytes) -> Capacity:
    last, block_size = struct.unpack_from(">QI", answer)
    return {
        "capacity": (last + 1) * block_size,
        "block_size": block_size,
        "physical_block_size": block_size << (answer[13] & 0x0F),
        "thin": bool(answer[14] & 0x80),
        "reads_zeroes": bool(answer[14] & 0x40),
    }


def provisioning_of(page: bytes) -> Provisioning:
    body = _body(page, PROVISIONING_PAGE).ljust(4, b"\0")
    return {"provisioning": _PROVISIONING.get(body[2] & 0x07, "full"), "unmap": bool(body[1] & 0x80)}


def limits_of(page: bytes, block_size: int) -> Limits:
    blocks = struct.unpack_from(">I", _body(page, LIMITS_PAGE).ljust(28, b"\0"), 24)[0]
    return {"unmap_granularity": blocks * block_size}


def write_protected(answer: bytes) -> bool:
    """Return the write protect bit in an answer to MODE SENSE(6)."""
    return bool(answer[2] & 0x80)


def _body(page: bytes, code: int) -> bytes:
    """Return the content of a page of vital product data; empty if it is another page."""
    return page[4 : 4 + int.from_bytes(page[2:4], "big")] if page[1] == code else b""


def _text(field: bytes) -> str:
    return field.split(b"\0")[0].decode("ascii", "replace").strip()
