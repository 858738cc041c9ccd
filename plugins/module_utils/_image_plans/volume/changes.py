# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Changes that write to a volume of a fixed size. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.contract import Change


@dataclass(frozen=True)
class WriteFormat(Change):
    """Write a format for a guest's disk of ``size`` bytes."""

    disk: Disk = field(repr=False)
    """The volume, as this host reaches it; its options may hold a password."""
    size: int
    wipe: tuple[tuple[int, int], ...] = ()
    """Start and length of what is zeroed first."""


@dataclass(frozen=True)
class ImportSource(Change):
    """Copy the disk's source, which has ``size`` bytes."""

    disk: Disk = field(repr=False)
    size: int
    wipe: tuple[tuple[int, int], ...] = ()
