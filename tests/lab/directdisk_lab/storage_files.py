# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The disks of the table as files and loop devices of this machine."""

from __future__ import annotations

import json
import os
from pathlib import Path

from . import guest, packing
from .disks import DISKS, PLACES, Disk
from .settings import Settings
from .shell import run


def of_host(host_name: str) -> list[Disk]:
    return [disk for disk in DISKS if disk.host == host_name]


def file_of(settings: Settings, disk: Disk) -> Path:
    return settings.srv(disk.host) / disk.place / disk.name


def make(settings: Settings, host_name: str) -> None:
    """Write the host's disks that are not there yet; what a test wrote stays."""
    for disk in of_host(host_name):
        path, place = file_of(settings, disk), PLACES[disk.place]
        if path.exists():
            continue
        if not path.parent.exists():
            path.parent.mkdir(parents=True)
            os.chown(path.parent, place.owner, place.owner)
        _write(path, disk)
        path.chmod(place.mode)
        os.chown(path, place.owner, place.owner)


def _write(path: Path, disk: Disk) -> None:
    if disk.packing:
        packing.pack(path, guest.content(disk.marker, disk.size, disk.format))
        return
    guest.write(path, disk.marker, disk.size, disk.format)
    if path.stat().st_size < disk.room:
        with path.open("ab") as image:
            image.truncate(disk.room)


def loops(settings: Settings) -> dict[Path, str]:
    """Loop devices by file, of this lab."""
    found = json.loads(run(["losetup", "--list", "--json", "--output=NAME,BACK-FILE"]) or "{}")
    rows = {Path(row["back-file"]): str(row["name"]) for row in found.get("loopdevices", [])}
    return {path: name for path, name in rows.items() if settings.state in path.parents}


def attach(settings: Settings, host_name: str) -> dict[str, str]:
    """Device by disk name of the host's block disks, attached where needed."""
    known = loops(settings)
    devices = {}
    for disk in of_host(host_name):
        if disk.place == "block":
            path = file_of(settings, disk)
            new = ["losetup", "--find", "--show", "--direct-io=on", str(path)]
            devices[disk.name] = known.get(path) or run(new).strip()
    return devices


def detach_all(settings: Settings) -> None:
    for device in loops(settings).values():
        run(["losetup", "--detach", device])
