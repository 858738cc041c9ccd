# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Observed states of LUNs, and the changes of a LUN beside those of every volume. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.contract import (
    INTERNAL,
    MERGED,
    Change,
    ObservedImage,
)


@dataclass(frozen=True)
class Device:
    """Answers of a LUN to SCSI commands; only a disk reports more than the first four."""

    type: str | None = None
    vendor: str | None = None
    model: str | None = None
    revision: str | None = None
    capacity: int | None = None
    block_size: int | None = None
    physical_block_size: int | None = None
    thin: bool | None = None
    reads_zeroes: bool | None = None
    serial: str | None = None
    device_id: str | None = None
    provisioning: str | None = None
    unmap: bool | None = None
    unmap_granularity: int | None = None
    read_only: bool | None = None


@dataclass(frozen=True)
class ObservedLun(ObservedImage):
    """State of a LUN as an initiator sees it."""

    portal: str = ""
    """The portal that let this host in."""
    luns: tuple[int, ...] = ()
    """All LUNs of the target."""
    device: Device = field(default=Device(), metadata=MERGED)
    encrypted: bool | None = None
    content: str | None = None
    """blank, unfinished or data."""
    fingerprint: str | None = None
    """Confirms that the data may be overwritten."""
    may_be_overwritten: bool = field(default=False, metadata=INTERNAL)
    """The declaration confirms it."""
    not_raw: str = field(default="", metadata=INTERNAL)
    """Reason why the bytes are not the declared raw disk; empty if they may be."""
    data_at: int | None = field(default=None, metadata=INTERNAL)
    """Offset of data that only a full read found."""
    header: int = field(default=0, metadata=INTERNAL)
    """Bytes before what a guest sees."""
    source_size: int | None = field(default=None, metadata=INTERNAL)

    @property
    def capacity(self) -> int:
        return self.device.capacity or 0

    @property
    def bytes_format(self) -> tuple[str, bool]:
        """The format that the first bytes tell, and if it is encrypted."""
        return self.format or "", bool(self.encrypted)


@dataclass(frozen=True)
class ListedLun:
    """A LUN in the list of a target's LUNs."""

    lun: int
    device: Device = field(default=Device(), metadata=MERGED)


@dataclass(frozen=True)
class ListedTarget:
    """A target in the list of a portal's targets."""

    target: str
    portals: tuple[str, ...]
    luns: tuple[ListedLun, ...]
    error: str
    """Reason why the target refuses this account; empty if it does not."""


@dataclass(frozen=True)
class ObservedPortal(ObservedImage):
    """Targets of a portal."""

    portal: str = ""
    targets: tuple[ListedTarget, ...] = ()


@dataclass(frozen=True)
class GrowLun(Change):
    """Grow what a guest sees of a LUN to ``size`` bytes."""

    disk: Disk = field(repr=False)
    size: int
