# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Converts CD drives: the storage of such a disk is its medium, which may be missing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.graph import ConvertedDisk
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.texts import shown
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration import cd_drive
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.boards import IDE_PLACES
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError

MEDIA = "cdrom"
"""Value of ``media=`` of a -drive that only reads."""
_BY_MEDIA = ("ide-drive", "scsi-disk", "usb-storage")
"""Devices that are a CD drive if their -drive has media=cdrom."""
_HOSTS_OWN = re.compile(r"/dev/(sr|scd|cdrom|cdrw|dvd|dvdrw)\d*")
_LIMITS = ("iops", "bps")


def is_cd_device(driver: str, media: str) -> bool:
    """Return if a device is a CD drive; media: that of its -drive."""
    return driver in cd_drive.DRIVERS.values() or (driver in _BY_MEDIA and media == MEDIA)


def declare_cd_drive(disk: ConvertedDisk, bus: str) -> None:
    """Make a disk a CD drive, without the options that one which only reads does not have."""
    path = str(disk.declared.get("host_device", {}).get("filename", ""))
    if _HOSTS_OWN.fullmatch(path):
        raise DeclarationError("", f"{shown(path)} is a CD drive of the host, which cannot be declared")
    disk.left += [f"{kind}: a CD drive has no limits" for kind in _LIMITS if kind in disk.declared]
    for option in ("writes", *cd_drive.WITHOUT):
        disk.declared.pop(option, None)
    disk.declared["model"] = cd_drive.MODEL
    if bus != cd_drive.DEFAULT_BUS:
        disk.declared["bus"] = bus


def check_room(board: str, disk: Mapping[str, Any], disks: Iterable[Mapping[str, Any]]) -> None:
    """Refuse a disk for which the board's own SATA or IDE has no place beside other disks."""
    places = IDE_PLACES[board]
    if attachment_of(disk) == "ide" and sum(attachment_of(other) == "ide" for other in disks) >= places:
        raise DeclarationError("", f"a {board} has room for {places} ide disks")


def attachment_of(declared: Mapping[str, Any]) -> str:
    """Return the model of a declared disk, or the bus of a CD drive."""
    if declared.get("model") == cd_drive.MODEL:
        return str(declared.get("bus", cd_drive.DEFAULT_BUS))
    return str(declared.get("model", "virtio-blk"))
