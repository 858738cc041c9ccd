# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The disks of the table as files and loop devices of this machine."""

from __future__ import annotations

import json
from pathlib import Path

from . import guest
from .disks import DISKS, Disk
from .settings import Settings
from .shell import run


def file_of(settings: Settings, disk: Disk) -> Path:
    return settings.srv(disk.host) / disk.place / disk.name


def make(settings: Settings, host_name: str) -> None:
    """Write the host's disks that are not there yet; what a test wrote stays."""
    for disk in (disk for disk in DISKS if disk.host == host_name):
        path = file_of(settings, disk)
        if path.exists():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        guest.write(path, disk.marker, disk.size, disk.format)
        if path.stat().st_size < disk.room:
            with path.open("ab") as image:
                image.truncate(disk.room)
        path.chmod(disk.mode)


def loops(settings: Settings) -> dict[Path, str]:
    """Loop devices by file, of this lab."""
    found = json.loads(run(["losetup", "--list", "--json", "--output=NAME,BACK-FILE"]) or "{}")
    rows = {Path(row["back-file"]): str(row["name"]) for row in found.get("loopdevices", [])}
    return {path: name for path, name in rows.items() if settings.state in path.parents}


def attach(settings: Settings, host_name: str) -> dict[str, str]:
    """Device by disk name of the host's block disks, attached where needed."""
    known = loops(settings)
    devices = {}
    for disk in DISKS:
        if disk.host == host_name and disk.place == "block":
            path = file_of(settings, disk)
            new = ["losetup", "--find", "--show", "--direct-io=on", str(path)]
            devices[disk.name] = known.get(path) or run(new).strip()
    return devices


def detach_all(settings: Settings) -> None:
    for device in loops(settings).values():
        run(["losetup", "--detach", device])
