# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compressed images and archives, as a user would publish them."""

from __future__ import annotations

import gzip
import io
import subprocess
import tarfile
from pathlib import Path

from .shell import LabError

BLOCK = 64 << 10  # small blocks, as whoever needs to read from the middle of an .xz makes them


def _xz(content: bytes) -> bytes:
    done = subprocess.run(
        ["xz", "--compress", "--stdout", f"--block-size={BLOCK}"], input=content, capture_output=True, check=False
    )
    if done.returncode != 0:
        raise LabError(f"xz: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout


def _tar(content: bytes, member: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        entry = tarfile.TarInfo(member)
        entry.size, entry.mode = len(content), 0o644
        archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def pack(path: Path, content: bytes) -> None:
    """Write an image packed as the path's suffix says; NAME.tar has the one member NAME.raw."""
    if path.suffix == ".xz":
        packed = _xz(content)
    elif path.suffix == ".gz":
        packed = gzip.compress(content)
    else:
        packed = _tar(content, f"{path.stem}.raw")
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(packed)
    part.rename(path)
