# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""QEMU's boards for PCs: q35 and pc, each newest or of one release of QEMU. Pure."""

from __future__ import annotations

import re

NEWEST = {"q35": "q35", "i440fx": "pc"}
"""Names of the newest board, by its chipset in the names of versioned ones."""
IDE_PLACES = {"q35": 6, "pc": 4}
"""Places for disks and CD drives on a board's own SATA or IDE."""
_VERSIONED_PATTERN = "pc-(q35|i440fx)-[A-Za-z0-9.]+"
"""Distributions have boards of their own, such as pc-q35-rhel9.4.0."""
PATTERN = f"^(q35|pc|{_VERSIONED_PATTERN})$"
_VERSIONED = re.compile(_VERSIONED_PATTERN)
_RELEASE = re.compile(r"pc-(?:q35|i440fx)-(\d+)\.(\d+)")


def is_versioned(machine: str) -> bool:
    """Return if a board is the same on every release of QEMU that knows it."""
    return bool(_VERSIONED.fullmatch(machine))


def release_of(machine: str) -> tuple[int, int] | None:
    """Return QEMU's release of a versioned board; None for the newest, and for those of distributions."""
    match = _RELEASE.fullmatch(machine)
    return (int(match[1]), int(match[2])) if match else None


def family(machine: str) -> str:
    """Return q35 or pc: how devices are attached to the board."""
    match = _VERSIONED.fullmatch(machine)
    return NEWEST[match.group(1)] if match else machine
