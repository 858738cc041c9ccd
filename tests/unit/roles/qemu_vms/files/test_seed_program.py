# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The program that writes cloud-init's seed into an image, read back by the rules of FAT."""

from __future__ import annotations

import random
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from ansible_collections.directdisk.qemu.tests.unit.support import UNIT_TESTS

PROGRAM = UNIT_TESTS.parents[1] / "roles" / "qemu_vms" / "files" / "qemu-vm-seed.py"
SMALL = {
    "user-data": b"#cloud-config\n",
    "meta-data": b"instance-id: web1\n",
    "network-config": b"",
    "vendor-data": b"x",
}


def image_of(folder: Path, files: dict[str, bytes]) -> bytes:
    seed, image = folder / "seed", folder / "seed.img"
    seed.mkdir(exist_ok=True)
    for name, content in files.items():
        (seed / name).write_bytes(content)
    subprocess.run([sys.executable, "-IS", str(PROGRAM), str(seed), str(image)], check=True)
    assert image.stat().st_mode & 0o777 == 0o600
    return image.read_bytes()


def read(image: bytes) -> tuple[str, dict[str, bytes]]:
    """The label and the files of an image."""
    size, per_cluster, reserved, tables, entries, total, _media, per_table = struct.unpack("<HBHBHHBH", image[11:24])
    total = total or struct.unpack("<I", image[32:36])[0]
    assert (image[510:512], len(image)) == (b"\x55\xaa", total * size)
    table = image[reserved * size : (reserved + per_table) * size]
    root = (reserved + tables * per_table) * size
    data, cluster_size = root + entries * 32, per_cluster * size
    assert (len(image) - data) // cluster_size < 4085
    label, files, parts = "", {}, []
    for place in range(root, data, 32):
        entry = image[place : place + 32]
        if entry[11] == 0x0F:
            parts.insert(0, (entry[1:11] + entry[14:26] + entry[28:32]).decode("utf-16-le"))
        elif entry[11] == 0x08:
            label = entry[:11].decode().strip()
        elif entry[0]:
            cluster, length = struct.unpack("<HI", entry[26:32])
            content = b""
            while cluster and cluster < 0xFF8:
                start = data + (cluster - 2) * cluster_size
                content += image[start : start + cluster_size]
                (pair,) = struct.unpack("<H", table[cluster * 3 // 2 : cluster * 3 // 2 + 2])
                cluster = pair >> 4 if cluster % 2 else pair & 0xFFF
            files["".join(parts).partition("\0")[0]] = content[:length]
            parts = []
    return label, files


@pytest.mark.parametrize(
    "files",
    [
        SMALL,
        {"user-data": random.Random(1).randbytes(70_001), "a-name-with-twenty-six-chars": b"y" * 512},
        {**SMALL, "vendor-data": random.Random(2).randbytes(2_500_000)},
    ],
)
def test_an_image_has_the_label_and_every_file(tmp_path: Path, files: dict[str, bytes]) -> None:
    assert read(image_of(tmp_path, files)) == ("cidata", files)


def test_equal_files_make_an_equal_image_also_over_a_longer_one(tmp_path: Path) -> None:
    first = image_of(tmp_path, SMALL)
    image_of(tmp_path, {"vendor-data": b"z" * 9000})
    assert image_of(tmp_path, SMALL) == first
