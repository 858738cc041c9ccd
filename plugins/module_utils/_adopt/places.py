# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds the places of disks: in their order, the firmware and the guest find those of one kind."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import count
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.arguments import Argument

Place = tuple[int, ...]

_NOT_PCI = re.compile(
    "(usb|scsi|ide|isa|ccid|hda|u2f|sd|tpm|nvme)-.*|virtserialport|virtconsole|floppy|nvdimm|pc-dimm|loader|pvpanic"
)
_FIRST_SLOT = 3
_AFTER_DEVICES = 1 << 16
"""QEMU adds the device of a -drive itself, after all others."""


def places_of(arguments: Sequence[Argument]) -> dict[int, Place]:
    """Return the places of devices, by the position of their arguments."""
    places: dict[int, Place] = {}
    taken: set[Place] = set()
    devices = [argument for argument in arguments if argument.option == "device"]
    for device in devices:
        driver, values = str(device.values.get("driver", "")), device.values
        base = _controller(str(values.get("bus", "")), devices, places)
        if driver.startswith("scsi-"):
            place = _scsi_place(values, base, taken)
        elif driver == "nvme-ns":
            place = (*base, number_of(values.get("nsid")) or len(taken))
        elif _NOT_PCI.fullmatch(driver):
            continue
        else:
            place = _pci_place(values.get("addr"), base, taken)
        taken.add(place)
        places[device.position] = place
    return places


def place_of_drive(position: int) -> Place:
    """Return the place of a disk whose device QEMU adds by itself."""
    return (_AFTER_DEVICES + position,)


def number_of(value: Any) -> int:
    """Return a number as QEMU reads it, octal after a 0; 0 for anything else."""
    try:
        return int(re.sub("^0(?=[0-7]+$)", "0o", str(value)), 0)
    except ValueError:
        return 0


def _controller(bus: str, devices: Sequence[Argument], places: dict[int, Place]) -> Place:
    """Return the place of the device that provides a bus; empty for a bus of the board."""
    names = {bus, bus.rpartition(".")[0]}
    return next((places[one.position] for one in devices if one.names & names and one.position in places), ())


def _pci_place(addr: Any, base: Place, taken: set[Place]) -> Place:
    if isinstance(addr, int):
        return (*base, addr)
    match = re.fullmatch(r"(?:0x)?([0-9a-fA-F]{1,2})(?:\.(?:0x)?([0-7]))?", str(addr))
    if match:
        return (*base, int(match[1], 16) * 8 + int(match[2] or "0"))
    return next((*base, slot * 8) for slot in count(0 if base else _FIRST_SLOT) if (*base, slot * 8) not in taken)


def _scsi_place(values: Any, base: Place, taken: set[Place]) -> Place:
    """Return channel, target and LUN on a controller; QEMU takes the first free target, or LUN of a target."""
    channel, lun = number_of(values.get("channel")), number_of(values.get("lun"))
    if "scsi-id" not in values:
        return next(place for number in count() if (place := (*base, channel, number, lun)) not in taken)
    target = number_of(values["scsi-id"])
    luns = count() if "lun" not in values else iter((lun,))
    places = ((*base, channel, target, number) for number in luns)
    return next((place for place in places if place not in taken), (*base, channel, target, lun))
