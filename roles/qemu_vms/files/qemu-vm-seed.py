# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""qemu-vm-seed.py FOLDER IMAGE: write the files of a folder into a disk image, a FAT file system with the label cidata.

For cloud-init's seed on a QEMU without vvfat, which shows a guest the folder itself. Equal files make an equal image.
"""

from __future__ import annotations

import os
import struct
import sys

LABEL = b"cidata     "
SECTOR = 512
ENTRY = 32
ROOT_ENTRIES = 512
TABLES = 2
MOST_CLUSTERS = 4000  # up to 4084, the file system is FAT12
END = 0xFFF
DIRECTORY, VOLUME, LONG_NAME = 0x20, 0x08, 0x0F
NAME_PART = 13  # characters of a long name in one entry


def sectors(length: int) -> int:
    return -(-length // SECTOR)


def short_name(number: int) -> bytes:
    """Return a name of the old form, which only has to be unique: everybody reads the long one."""
    return f"FILE{number:04d}TXT".encode()


def long_name(name: str, short: bytes) -> bytes:
    """Return the entries before that of a file, which hold its name, the last part first."""
    check = 0
    for byte in short:
        check = ((check >> 1) + ((check & 1) << 7) + byte) & 0xFF
    parts = [name[start : start + NAME_PART] for start in range(0, len(name), NAME_PART)]
    entries = []
    for number, part in enumerate(parts, 1):
        text = part.encode("utf-16-le")
        if len(part) < NAME_PART:
            text = (text + b"\0\0").ljust(2 * NAME_PART, b"\xff")
        order = number | (0x40 if number == len(parts) else 0)
        entries.append(
            struct.pack("<B10sBBB12sH4s", order, text[:10], LONG_NAME, 0, check, text[10:22], 0, text[22:26])
        )
    return b"".join(reversed(entries))


def entry(short: bytes, kind: int, cluster: int, length: int) -> bytes:
    """Return an entry of the directory, with the first day of FAT's time."""
    return struct.pack("<11sBBBHHHHHHHI", short, kind, 0, 0, 0, 0x21, 0x21, 0, 0, 0x21, cluster, length)


def table_of(chains: list[tuple[int, int]], clusters: int) -> bytes:
    """Return the table of clusters; chains: the first cluster of each file, and their number."""
    values = [0xFF8, END, *([0] * clusters)]
    for first, count in chains:
        for cluster in range(first, first + count):
            values[cluster] = cluster + 1 if cluster + 1 < first + count else END
    values += [0] * (len(values) % 2)
    packed = bytearray()
    for low, high in zip(values[::2], values[1::2]):
        packed += bytes((low & 0xFF, low >> 8 | (high & 0xF) << 4, high >> 4))
    return bytes(packed)


def image_of(files: dict[str, bytes]) -> bytes:
    """Return the whole image."""
    per_cluster = 1
    while sum(-(-sectors(len(content)) // per_cluster) for content in files.values()) > MOST_CLUSTERS:
        per_cluster *= 2
    size = per_cluster * SECTOR
    directory, data, chains = entry(LABEL, VOLUME, 0, 0), bytearray(), []
    for number, (name, content) in enumerate(sorted(files.items())):
        count = -(-len(content) // size)
        first = 2 + len(data) // size if count else 0
        short = short_name(number)
        directory += long_name(name, short) + entry(short, DIRECTORY, first, len(content))
        chains += [(first, count)] if count else []
        data += content.ljust(count * size, b"\0")
    if len(directory) > ROOT_ENTRIES * ENTRY:
        raise SystemExit("the seed has too many files")
    clusters = max(1, len(data) // size)
    table = table_of(chains, clusters)
    table = table.ljust(sectors(len(table)) * SECTOR, b"\0")
    root = directory.ljust(ROOT_ENTRIES * ENTRY, b"\0")
    body = bytes(data).ljust(clusters * size, b"\0")
    total = 1 + TABLES * sectors(len(table)) + sectors(len(root)) + sectors(len(body))
    boot = struct.pack(
        *("<3s8sHBHBHHBHHHIIBBBI11s8s", b"\xeb\x3c\x90", b"MSWIN4.1", SECTOR, per_cluster, 1, TABLES, ROOT_ENTRIES),
        *(total if total < 0x10000 else 0, 0xF8, sectors(len(table)), 32, 2, 0, 0 if total < 0x10000 else total),
        *(0x80, 0, 0x29, 0, LABEL, b"FAT12   "),
    )
    return boot.ljust(SECTOR - 2, b"\0") + b"\x55\xaa" + table * TABLES + root + body


def main(folder: str, image: str) -> None:
    files = {}
    for name in os.listdir(folder):
        with open(os.path.join(folder, name), "rb") as stream:
            files[name] = stream.read()
    handle = os.open(image, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with open(handle, "wb") as stream:
        stream.write(image_of(files))


if __name__ == "__main__":
    main(*sys.argv[1:])
