# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps the boot order of a command line: a declaration boots its first disk unless a boot_index is declared."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.arguments import Argument, changed
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.devices import Hardware
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.places import Place, number_of
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.settings import Conversion
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.cd_drive import MODEL

# SeaBIOS, src/block.h: drives without a bootindex are tried in the order of these types.
_TYPES = ("ide", "virtio-scsi", "scsi-block", "scsi-generic", "virtio-blk", "usb", "nvme")
_HD = {"hda": 0, "hdb": 1, "hdc": 2, "hdd": 3}
_CDROM = 2
_INDEX = re.compile("bootindex[AB]?")
_DISK_FIRST = re.compile("c.*|")
_CD_FIRST = re.compile("dc?")


def rank(hardware: Hardware) -> tuple[int, Place]:
    """Return the place of a disk among those that the firmware tries, if none has a bootindex; CD drives come last."""
    kind = _TYPES.index(hardware.model) + (len(_TYPES) if hardware.is_cd else 0)
    if hardware.model == "ide":
        return kind, (-1 if hardware.index is None else hardware.index,)
    return kind, hardware.place


def in_order(ranks: Mapping[str, tuple[int, Place]], *, indexed: bool) -> list[str]:
    """Return the names of disks in the order of their ranks: a declaration boots its first one.

    indexed: one has a bootindex, so the order is that of the command line, CD drives last; disks of one kind are in the
    order in which the guest finds them.
    """
    ordered = sorted(ranks, key=ranks.__getitem__)
    if not indexed:
        return ordered
    kinds = [kind for kind, _place in ranks.values()]
    of_kind = {kind: iter([name for name in ordered if ranks[name][0] == kind]) for kind in kinds}
    return [next(of_kind[kind]) for kind in sorted(kinds, key=lambda kind: kind >= len(_TYPES))]


def ide_indices(conversion: Conversion, units: int) -> dict[int, int]:
    """Return the IDE index of each drive that the board places, by position; units: disks of one IDE bus."""
    indices: dict[int, int] = {}
    for argument in conversion.arguments:
        index = _ide_index(argument, units)
        if index is None:
            continue
        if index < 0:
            index = next(number for number in range(len(indices) + 1) if number not in indices.values())
        indices[argument.position] = index
    return indices


def _ide_index(argument: Argument, units: int) -> int | None:
    """Return the index of a drive, -1 if the board chooses; None for what is not a drive of the board's IDE."""
    if argument.option in _HD:
        return _HD[argument.option]
    if argument.option == "cdrom":
        return _CDROM
    if argument.option == "":
        return 0
    if argument.option != "drive" or argument.values.get("if", "ide") != "ide":
        return None
    if "index" in argument.values:
        return _number(argument.values["index"])
    if "bus" in argument.values or "unit" in argument.values:
        return units * _number(argument.values.get("bus", 0)) + _number(argument.values.get("unit", 0))
    return -1


def place_of_device(properties: Mapping[str, Any], units: int) -> int | None:
    """Return the IDE index of an ide-hd or ide-cd; None if QEMU chooses, or if it is on another controller."""
    bus = re.fullmatch(r"ide\.(\d{1,2})", str(properties.get("bus", "")))
    return units * int(bus[1]) + _number(properties.get("unit", 0)) if bus else None


def _number(value: Any) -> int:
    return int(str(value)) if re.fullmatch(r"\d{1,3}", str(value)) else 0


def boot_after_kept(conversion: Conversion, kept: Iterable[Argument]) -> None:
    """Boot the first disk after the kept devices that have a bootindex, if no disk has one."""
    taken = [number_of(value) for argument in kept for key, value in argument.values.items() if _INDEX.fullmatch(key)]
    disks = conversion.vm.get("disks", {})
    if not taken or not disks or any("boot_index" in disk for disk in disks.values()):
        return
    name = next(iter(disks))
    disks[name]["boot_index"] = max(taken) + 1
    conversion.notes.append(
        f"disk {name}: boot_index: {max(taken) + 1}, because a device in extra_args boots before it"
    )


def boot_from_cds(conversion: Conversion) -> None:
    """Boot from CD drives before the first disk where -boot asks for them, as -boot has no effect on a bootindex."""
    boots, disks = conversion.of("boot"), conversion.vm.get("disks", {})
    devices = [argument for argument in conversion.arguments if argument.option == "device"]
    indexed = any(_INDEX.fullmatch(key) for device in devices for key in device.values)
    if len(boots) != 1 or indexed or "once" in boots[0].values:
        return
    if _CD_FIRST.fullmatch(str(boots[0].values.get("order"))) and declare_cds_first(disks):
        rest = {key: value for key, value in boots[0].values.items() if key != "order"}
        conversion.arguments.remove(boots[0])
        conversion.arguments += [changed(boots[0], rest)] if rest else []


def declare_cds_first(disks: dict[str, dict[str, Any]]) -> bool:
    """Let CD drives boot before the first disk; return False without CD drives."""
    cds = [disk for disk in disks.values() if disk.get("model") == MODEL]
    others = [disk for disk in disks.values() if disk.get("model") != MODEL]
    for number, disk in enumerate([*cds, *others[:1]] if cds else []):
        disk["boot_index"] = number
    return bool(cds)


def boot_comment(conversion: Conversion, argument: Argument) -> str:
    """Return what is to be known of a -boot that is kept; empty if it does what it did."""
    order = str(argument.values.get("order", ""))
    if "once" in argument.values:
        order = str(argument.values["once"])
    if _DISK_FIRST.fullmatch(order) or not conversion.vm.get("disks"):
        return ""
    return "a disk with boot_index 0 boots before it, which is the first one if no disk declares it"
