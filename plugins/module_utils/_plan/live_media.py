# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The changes of the media in the CD drives of a running VM. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from ansible_collections.directdisk.qemu.plugins.module_utils._declaration import cd_drive
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.live_state import LiveDisk, ObservedProcess
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.running_parts import (
    Part,
    properties_of,
)


@dataclass(frozen=True)
class MediumChanges:
    """The changes of one drive's medium."""

    eject: bool = False
    insert: bool = False
    applies: bool = False
    """If the drive can get its medium without a restart: it is there, and has the declared properties."""


def media_now(process: ObservedProcess, disks: Mapping[str, Part]) -> dict[str, str]:
    """Return the nodes in the CD drives that a process has, by disk; empty for a drive without a medium.

    disks: those of the process, also if only a part of one is there.
    """
    drives = [name for name, part in disks.items() if is_cd_drive(part) and name in process["devices"]]
    return {name: process["media"].get(name, "") for name in drives}


def is_cd_drive(part: Part) -> bool:
    """Return if a disk is a CD drive, with or without a medium."""
    return bool(part.devices) and part.devices[-1].partition(",")[0] in cd_drive.DRIVERS.values()


def medium_changes(before: Part | None, after: Part, medium: str | None, *, current: bool) -> MediumChanges:
    """Return the changes of one drive.

    before: the drive in the process, after: as planned; medium: the node in it, empty without one, None if the VM does
    not have the drive; current: if the process has all that belongs to the medium, and its helper is the planned one.
    """
    if before is None or medium is None or _device(before) != _device(after):
        return MediumChanges()
    same = (before.objects, before.nodes) == (after.objects, after.nodes)
    if same and current and medium == properties_of(after.devices[-1]).get("drive", ""):
        return MediumChanges(applies=True)
    return MediumChanges(eject=bool(medium or before.nodes), insert=bool(after.nodes), applies=True)


def _device(part: Part) -> list[dict[str, str]]:
    """Return the properties of a drive's devices, without its medium."""
    return [
        {name: value for name, value in properties_of(device).items() if name != "drive"} for device in part.devices
    ]


def without_medium(part: Part) -> Part:
    """Return an empty drive."""
    *bridge, device = part.devices
    kept = [f"{name}={value}" for name, value in properties_of(device).items() if name not in ("driver", "drive")]
    return Part(devices=(*bridge, ",".join([properties_of(device)["driver"], *kept])))


def empty_drive(part: Part) -> LiveDisk:
    """Return a CD drive without a medium; part: its devices."""
    return {
        "objects": [],
        "nodes": [],
        "controller": "",
        "devices": list(part.devices),
        "secrets": {},
        "files": {},
        "texts": {},
        "passed": {},
        "helpers": [],
        "network": False,
        "backing": {},
        "overlay": None,
    }


def top_node(part: Part) -> str:
    """Return the node that is put into the drive."""
    return str(json.loads(part.nodes[-1])["node-name"])
