# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Converts the disks of a command line: each is a device with a drive or node."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._adopt import boot, cd_drives, drives, places
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.arguments import Argument
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.devices import Hardware, model_of, read_properties
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.graph import ConvertedDisk
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.names import disk_name
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.places import Place
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.result import check_disk, covered
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.settings import Conversion
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.command_line_context import CommandLineContext
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.values import Node
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import Collected, DeclarationError


def read_disks(conversion: Conversion, context: CommandLineContext) -> None:
    """Declare each disk if possible; the others stay arguments, with everything that belongs to them."""
    disks: dict[str, dict[str, Any]] = {}
    ranks: dict[str, tuple[int, Place]] = {}
    for hardware, argument in _pairs(conversion):
        where = argument.shown if argument.has_secret else f"-{argument.option} {_name_of(argument)}".strip()
        try:
            disk = _read_disk(conversion, hardware, argument, context, disks)
        except (DeclarationError, Collected) as error:
            why = str(covered(error, argument.value)).removeprefix(f"-{argument.option}: ")
            conversion.left.append(f"{where}: {why}")
            continue
        words = [str(hardware.properties.get("id", "")), *sorted(argument.names), "cd" if hardware.is_cd else "disk"]
        name = disk_name(words, disk, disks)
        disks[name] = disk.declared
        ranks[name] = boot.rank(hardware)
        conversion.left += [f"disk {name}: {text}" for text in disk.left]
        conversion.notes += [f"disk {name}: {text}" for text in disk.notes]
    if disks:
        indexed = any("boot_index" in disk for disk in disks.values())
        conversion.vm["disks"] = {name: disks[name] for name in boot.in_order(ranks, indexed=indexed)}


def lone_disk(conversion: Conversion, context: CommandLineContext) -> ConvertedDisk:
    """Read the only disk of some options; without a device its model is not declared."""
    pairs = _pairs(conversion) or [(_unnamed(argument), argument) for argument in _tops(conversion)]
    if len(pairs) != 1:
        problem = f"has {len(pairs)} disks, not exactly one; a whole command line begins with the program's name"
        raise DeclarationError("command line", problem)
    return _read_disk(conversion, *pairs[0], context, {})


def _tops(conversion: Conversion) -> list[Argument]:
    """Return drives and topmost nodes."""
    blockdevs = conversion.of("blockdev")
    nodes = {name: a for a in blockdevs for name in a.names}
    below = [one for a in blockdevs for one in _reached(a, nodes)]
    return [*conversion.of("drive"), *(a for a in blockdevs if a not in below)]


def _unnamed(argument: Argument) -> Hardware:
    """Return the device of a drive or node that names none."""
    is_cd = argument.values.get("media") == cd_drives.MEDIA
    return Hardware("ide" if is_cd else "virtio-blk", {}, is_cd=is_cd)


def _name_of(argument: Argument) -> str:
    return ",".join(sorted(argument.names))


def _pairs(conversion: Conversion) -> list[tuple[Hardware, Argument]]:
    """Return each device with its drive or node, in the order of the drives."""
    behind = {name: a for a in conversion.of("drive", "blockdev") for name in a.names}
    pairs = []
    units = 1 if conversion.board == "q35" else 2
    indices, placed = boot.ide_indices(conversion, units), places.places_of(conversion.arguments)
    for device in conversion.of("device"):
        driver = str(device.values.get("driver"))
        model = model_of(conversion, device)
        drive = behind.get(str(device.values.get("drive"))) if "drive" in device.values else device
        is_cd = drive is not None and cd_drives.is_cd_device(driver, str(drive.values.get("media", "")))
        if model and drive and (is_cd or drive is not device):
            index = boot.place_of_device(device.values, units) if model == "ide" else None
            place = placed.get(device.position, (device.position,))
            pairs.append((drive.position, Hardware(model, device.values, device, index, place, is_cd), drive))
    used = {drive.position for _position, _hardware, drive in pairs}
    for argument in conversion.of("drive"):
        interface = argument.values.get("if", "ide")
        if argument.position not in used and interface in ("virtio", "ide"):
            index, place = indices.get(argument.position), places.place_of_drive(argument.position)
            is_cd = interface == "ide" and argument.values.get("media") == cd_drives.MEDIA
            hardware = Hardware(drives.MODELS[interface], {}, None, index, place, is_cd)
            pairs.append((argument.position, hardware, argument))
    for argument in conversion.of("hda", "hdb", "hdc", "hdd", "cdrom", ""):
        hardware = Hardware("ide", {}, None, indices[argument.position], is_cd=argument.option == "cdrom")
        pairs.append((argument.position, hardware, argument))
    return [(hardware, argument) for _position, hardware, argument in sorted(pairs, key=lambda pair: pair[0])]


def _read_disk(
    conversion: Conversion,
    hardware: Hardware,
    argument: Argument,
    context: CommandLineContext,
    others: Mapping[str, Any],
) -> ConvertedDisk:
    if argument.position in conversion.taken:
        raise DeclarationError(f"-device {hardware.properties.get('driver')}", "its drive is that of another device")
    used = [argument]
    if argument.option == "blockdev":
        nodes = {name: a for a in conversion.of("blockdev") for name in a.names}
        below = {name: drives.read_blockdev_text(a.value) for name, a in nodes.items()}
        top = drives.read_blockdev_text(argument.value)
        disk = drives.read_blockdev(top, below, context, "-blockdev", is_cd=hardware.is_cd)
        used += _reached(argument, nodes)
    elif argument is hardware.device:
        disk = ConvertedDisk()
    else:
        text = argument.value if argument.option == "drive" else f"file={argument.value.replace(',', ',,')}"
        drive = drives.split_drive(text)
        if conversion.has("snapshot"):
            drive.own["snapshot"] = "on"
        disk = drives.read_drive(drive, context, "-drive", is_cd=hardware.is_cd)
    if hardware.is_cd:
        cd_drives.declare_cd_drive(disk, hardware.model)
    elif hardware.model != "virtio-blk":
        disk.declared["model"] = hardware.model
    if hardware.device:
        read_properties(conversion, hardware, disk)
        used.append(hardware.device)
    check_disk(disk.declared)
    cd_drives.check_room(conversion.board, disk.declared, others.values())
    conversion.take(*used)
    conversion.gone |= {name for one in used for name in one.names}
    return disk


def _reached(top: Argument, nodes: Mapping[str, Argument]) -> list[Argument]:
    """Return the arguments of the nodes below a node."""
    result: list[Argument] = []
    waiting: list[Any] = [top.values]
    while waiting:
        node: Node = waiting.pop()
        for key, child in node.items():
            if isinstance(child, Mapping):
                waiting.append(child)
            elif key.rpartition(".")[2] in ("file", "backing") and child in nodes and nodes[child] not in result:
                result.append(nodes[child])
                waiting.append(nodes[child].values)
    return result
