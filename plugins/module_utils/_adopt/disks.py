# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Converts the disks of a command line: each is a device with a drive or node."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._adopt import drives
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.arguments import Argument
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.graph import FoundDisk
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.result import check_disk, covered
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.settings import Found
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.texts import shown, switch
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.command_line_context import CommandLineContext
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.uris import number_in
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.values import Node
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import Collected, DeclarationError

DEVICES = {
    "virtio-blk-pci": "virtio-blk",
    "virtio-blk": "virtio-blk",
    "scsi-hd": "virtio-scsi",
    "scsi-block": "scsi-block",
    "scsi-generic": "scsi-generic",
    "nvme": "nvme",
    "ide-hd": "ide",
    "usb-storage": "usb",
}
CONTROLLERS = ("virtio-scsi-pci", "virtio-scsi")
_ON_SCSI = ("virtio-scsi", "scsi-block", "scsi-generic")
_HARMLESS = (
    "addr",
    "bus",
    "channel",
    "device_id",
    "lun",
    "multifunction",
    "port",
    "queue-size",
    "removable",
    "rotation_rate",
    "scsi-id",
    "unit",
)
"""Properties for the place and the speed of a disk, without effect on its content."""


@dataclass(frozen=True)
class Hardware:
    """The device of a disk, also if ``if=`` of a drive implies it."""

    model: str
    properties: Mapping[str, Any]
    device: Argument | None = None


def read_disks(found: Found, context: CommandLineContext) -> None:
    """Declare each disk if possible; the others stay arguments, with everything that belongs to them."""
    disks: dict[str, dict[str, Any]] = {}
    for hardware, argument in _pairs(found):
        where = argument.shown if argument.has_secret else f"-{argument.option} {_name_of(argument)}".strip()
        try:
            disk = _read_disk(found, hardware, argument, context)
        except (DeclarationError, Collected) as error:
            why = str(covered(error, argument.value)).removeprefix(f"-{argument.option}: ")
            found.left.append(f"{where}: {why}")
            continue
        name = _disk_name(hardware, argument, disks)
        disks[name] = disk.declared
        found.left += [f"disk {name}: {text}" for text in disk.left]
        found.notes += [f"disk {name}: {text}" for text in disk.notes]
    if disks:
        found.vm["disks"] = disks


def lone_disk(found: Found, context: CommandLineContext) -> FoundDisk:
    """Read the only disk of some options; without a device its model is not declared."""
    pairs = _pairs(found) or [(Hardware("virtio-blk", {}), argument) for argument in _tops(found)]
    if len(pairs) != 1:
        problem = f"has {len(pairs)} disks, not exactly one; a whole command line begins with the program's name"
        raise DeclarationError("command line", problem)
    return _read_disk(found, *pairs[0], context)


def _tops(found: Found) -> list[Argument]:
    """Return drives and topmost nodes."""
    blockdevs = found.of("blockdev")
    nodes = {name: a for a in blockdevs for name in a.names}
    below = [one for a in blockdevs for one in _reached(a, nodes)]
    return [*found.of("drive"), *(a for a in blockdevs if a not in below)]


def _name_of(argument: Argument) -> str:
    return ",".join(sorted(argument.names))


def _pairs(found: Found) -> list[tuple[Hardware, Argument]]:
    """Return each device with its drive or node, in the order in which QEMU creates them."""
    behind = {name: a for a in found.of("drive", "blockdev") for name in a.names}
    pairs = []
    for device in found.of("device"):
        model = DEVICES.get(str(device.said.get("driver")))
        drive = behind.get(str(device.said.get("drive")))
        if model and drive:
            pairs.append((drive.position, Hardware(model, device.said, device), drive))
    used = {drive.position for _position, _hardware, drive in pairs}
    for argument in found.of("drive"):
        interface = argument.said.get("if", "ide")
        if argument.position not in used and interface in ("virtio", "ide") and argument.said.get("media") != "cdrom":
            pairs.append((argument.position, Hardware(drives.MODELS[interface], {}), argument))
    for argument in found.of("hda", "hdb", "hdc", "hdd", ""):
        pairs.append((argument.position, Hardware("ide", {}), argument))
    return [(hardware, argument) for _position, hardware, argument in sorted(pairs, key=lambda pair: pair[0])]


def _read_disk(found: Found, hardware: Hardware, argument: Argument, context: CommandLineContext) -> FoundDisk:
    if argument.position in found.taken:
        raise DeclarationError(f"-device {hardware.properties.get('driver')}", "its drive is that of another device")
    used = [argument]
    if argument.option == "blockdev":
        nodes = {name: a for a in found.of("blockdev") for name in a.names}
        below = {name: drives.read_blockdev_text(a.value) for name, a in nodes.items()}
        disk = drives.read_blockdev(drives.read_blockdev_text(argument.value), below, context, "-blockdev")
        used += _reached(argument, nodes)
    else:
        text = argument.value if argument.option == "drive" else f"file={argument.value.replace(',', ',,')}"
        drive = drives.split_drive(text)
        if found.has("snapshot"):
            drive.own["snapshot"] = "on"
        disk = drives.read_drive(drive, context, "-drive")
    if hardware.model != "virtio-blk":
        disk.declared["model"] = hardware.model
    if hardware.device:
        _read_properties(found, hardware, disk)
        used.append(hardware.device)
    check_disk(disk.declared)
    found.take(*used)
    found.gone |= {name for one in used for name in one.names}
    return disk


def _reached(top: Argument, nodes: Mapping[str, Argument]) -> list[Argument]:
    """Return the arguments of the nodes below a node."""
    found: list[Argument] = []
    waiting: list[Any] = [top.said]
    while waiting:
        node: Node = waiting.pop()
        for key, child in node.items():
            if isinstance(child, Mapping):
                waiting.append(child)
            elif key.rpartition(".")[2] in ("file", "backing") and child in nodes and nodes[child] not in found:
                found.append(nodes[child])
                waiting.append(nodes[child].said)
    return found


def _read_properties(found: Found, hardware: Hardware, disk: FoundDisk) -> None:
    """Read the model of a disk from the properties of its device."""
    where = f"-device {hardware.properties.get('driver')}"
    said = {key: value for key, value in hardware.properties.items() if key not in ("driver", "drive", "id")}
    if hardware.model in _ON_SCSI:
        said.update(_controller(found, said.pop("bus", None), disk, where))
    declared = disk.declared
    for key, option in (("bootindex", "boot_index"), ("serial", "serial"), ("num-queues", "queues")):
        if key in said:
            value = said.pop(key)
            declared[option] = value if option == "serial" else number_in(value)
    if said.pop("iothread", None):
        declared["iothread"] = True
    drives.set_write_cache(disk.declared, _write_cache(said.pop("write-cache", "auto"), where), where)
    errors: dict[str, str] = {key: str(said.pop(key)) for key in ("werror", "rerror") if key in said}
    if errors and hardware.model != "nvme" and declared.get("writes") != "deny":
        drives.set_errors(declared, errors, disk)
    elif errors.get("rerror", "auto") != "auto":
        drives.set_errors(declared, {"werror": errors["rerror"], "rerror": errors["rerror"]}, disk)
    for key, value in said.items():
        if key not in _HARMLESS:
            raise DeclarationError(where, f"{key}={shown(value)} cannot be declared")
        if not (key == "bus" and hardware.model in ("ide", "usb")):
            disk.left.append(f"{key}={value}: the place and the queues of a device are QEMU's choice")


def _write_cache(said: Any, where: str) -> bool:
    return said == "auto" or switch(said, f"{where}: write-cache")


def _controller(found: Found, bus: Any, disk: FoundDisk, where: str) -> dict[str, Any]:
    """Read the options of a SCSI disk's controller: a declared disk has its own."""
    name = str(bus).rpartition(".")[0] if bus is not None else None
    controllers = [a for a in found.arguments if a.option == "device" and a.said.get("driver") in CONTROLLERS]
    fitting = [a for a in controllers if name is None or name in a.names]
    if not fitting:
        raise DeclarationError(where, f"sits on {shown(bus or 'no bus')}, and a virtio-scsi-pci alone can be declared")
    said = {re.sub("_", "-", key): value for key, value in fitting[0].said.items()}
    for key in ("driver", "id"):
        said.pop(key, None)
    found_here: dict[str, Any] = {key: said.pop(key) for key in ("num-queues", "iothread") if key in said}
    disk.left += [f"{key}={value} of its controller: QEMU's choice" for key, value in said.items()]
    return found_here


def _disk_name(hardware: Hardware, argument: Argument, taken: Mapping[str, Any]) -> str:
    """Return a valid, unused name, derived from QEMU's."""
    words = [str(hardware.properties.get("id", "")), *sorted(argument.names), "disk"]
    return fitting_name(words, taken)


def fitting_name(words: list[str], taken: Mapping[str, Any]) -> str:
    """Return the first usable name, shortened and numbered if necessary."""
    for word in words:
        name = re.sub("[^A-Za-z0-9_-]+", "-", re.sub("^drive-", "", word)).strip("-")[:16]
        if re.match("[A-Za-z]", name) and name != "machine":
            break
    number = 1
    unique = name
    while unique in taken:
        number += 1
        unique = f"{name[: 16 - len(str(number))]}{number}"
    return unique
