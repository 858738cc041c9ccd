# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tiny guests: a bootable raw disk of one boot sector, with a marker that it prints; and one that keeps writing."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

from .settings import HERE
from .shell import LabError, run

SOURCE = HERE / "guest" / "tiny-guest.s"
WRITER_SOURCE = HERE / "guest" / "writer-guest.s"
SECTOR = 512
WRITER_CODE = 2  # LBA of what does not fit into the boot sector
MARKER_OFFSET = 16  # within LBA 1; the two bytes at its start are the boot counter


@cache
def boot_sector() -> bytes:
    """The guest's whole code."""
    sector = assembled(SOURCE)
    if len(sector) != SECTOR:
        raise LabError(f"{SOURCE}: {len(sector)} bytes instead of {SECTOR}")
    return sector


def assembled(source: Path) -> bytes:
    """Assemble a guest (binutils)."""
    with tempfile.TemporaryDirectory(prefix="directdisk-lab-") as folder:
        relocatable, binary = Path(folder, "guest.o"), Path(folder, "guest.bin")
        run(["as", "--32", "-o", str(relocatable), str(source)])
        link = ["ld", "-m", "elf_i386", "-Ttext", "0x7c00", "--oformat", "binary"]
        run([*link, "-o", str(binary), str(relocatable)])
        return binary.read_bytes()


def write_raw(path: Path, marker: str, size: int) -> None:
    """Write a sparse raw disk; without a marker it is empty."""
    words = marker.encode()
    if len(words) >= SECTOR - MARKER_OFFSET:
        raise LabError(f"marker too long: {marker}")
    with path.open("wb") as disk:
        if marker:
            disk.write(boot_sector() + bytes(MARKER_OFFSET) + words)
        disk.truncate(size)


def write_writer(path: Path, size: int) -> None:
    """Write the raw disk of the guest that writes and verifies (guest/writer-guest.s)."""
    code = assembled(WRITER_SOURCE)
    with path.open("wb") as disk:
        disk.write(code[:SECTOR])
        disk.seek(WRITER_CODE * SECTOR)
        disk.write(code[SECTOR:])
        disk.truncate(size)


def write(path: Path, marker: str, size: int, image_format: str = "raw") -> None:
    """Write a guest disk of a format that qemu-img knows; the file appears whole or not at all."""
    part = path.with_name(f".{path.name}.part")
    write_raw(part, marker, size)
    if image_format != "raw":
        raw = part.rename(part.with_suffix(".rawpart"))
        run(["qemu-img", "convert", "-f", "raw", "-O", image_format, str(raw), str(part)])
        raw.unlink()
    part.rename(path)


def content(marker: str, size: int, image_format: str) -> bytes:
    """The bytes of a guest disk."""
    with tempfile.TemporaryDirectory(prefix="directdisk-lab-") as folder:
        path = Path(folder, "disk")
        write(path, marker, size, image_format)
        return path.read_bytes()
