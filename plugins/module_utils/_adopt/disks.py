# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Converts the disks of a command line: each is a device with a drive or node."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._adopt import boot, drives
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.arguments import Argument
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.devices import DEVICES, Hardware, read_properties
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.graph import FoundDisk
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.names import fitting_name
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.result import check_disk, covered
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.settings import Found
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.command_line_context import CommandLineContext
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.values import Node
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import Collected, DeclarationError


def read_disks(found: Found, context: CommandLineContext) -> None:
    """Declare each disk if possible; the others stay arguments, with everything that belongs to them."""
    disks: dict[str, dict[str, Any]] = {}
    ranks: dict[str, tuple[int, int]] = {}
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
        ranks[name] = boot.rank(hardware)
        found.left += [f"disk {name}: {text}" for text in disk.left]
        found.notes += [f"disk {name}: {text}" for text in disk.notes]
    if not any("boot_index" in disk for disk in disks.values()):
        disks = {name: disks[name] for name in sorted(disks, key=lambda name: ranks[name])}
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
    units = 1 if found.vm.get("machine") == "q35" else 2
    indices = boot.ide_indices(found, units)
    for device in found.of("device"):
        model = DEVICES.get(str(device.said.get("driver")))
        drive = behind.get(str(device.said.get("drive")))
        if model and drive:
            index = boot.place_of_device(device.said, units) if model == "ide" else None
            pairs.append((drive.position, Hardware(model, device.said, device, index), drive))
    used = {drive.position for _position, _hardware, drive in pairs}
    for argument in found.of("drive"):
        interface = argument.said.get("if", "ide")
        if argument.position not in used and interface in ("virtio", "ide") and argument.said.get("media") != "cdrom":
            index = indices.get(argument.position)
            pairs.append((argument.position, Hardware(drives.MODELS[interface], {}, None, index), argument))
    for argument in found.of("hda", "hdb", "hdc", "hdd", ""):
        pairs.append((argument.position, Hardware("ide", {}, None, indices[argument.position]), argument))
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
        read_properties(found, hardware, disk)
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


def _disk_name(hardware: Hardware, argument: Argument, taken: Mapping[str, Any]) -> str:
    """Return a valid, unused name, derived from QEMU's."""
    words = [str(hardware.properties.get("id", "")), *sorted(argument.names), "disk"]
    return fitting_name(words, taken)
