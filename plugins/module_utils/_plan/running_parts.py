# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A command line of QEMU in parts: what belongs to each disk and network, and the rest. Pure.

Command lines of the collection only: names of objects, nodes and devices tell to what they belong.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from ansible_collections.directdisk.qemu.plugins.module_utils._declaration import cd_drive
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.pci import nic_id
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.sizes import Sizes, is_size, sizes_of
from ansible_collections.directdisk.qemu.plugins.module_utils._units.compact_json import compact
from ansible_collections.directdisk.qemu.plugins.module_utils._units.node_names import disk_node, disk_of_node
from ansible_collections.directdisk.qemu.plugins.module_utils._units.service import Args
from ansible_collections.directdisk.qemu.plugins.module_utils._units.unit_text import COMMA

_SCREEN = ("-display", "-vnc")
"""Options of which each command line has one, before its extra_args."""
NO_PORT = "there is no free port for it (hotplug_ports)"
"""Reason why a disk or network cannot be plugged."""
_OF_PARTS = ("-object", "-blockdev", "-device", "-netdev")


@dataclass(frozen=True)
class Part:
    """The arguments of one disk or network, without their options."""

    objects: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    netdevs: tuple[str, ...] = ()


@dataclass(frozen=True)
class RunningParts:
    """A command line in parts."""

    disks: Mapping[str, Part] = field(default_factory=dict)
    networks: Mapping[str, Part] = field(default_factory=dict)
    controllers: Mapping[str, str] = field(default_factory=dict)
    """SCSI controllers that disks share, by id."""
    sizes: Sizes = field(default_factory=Sizes)
    rest: tuple[tuple[str, ...], ...] = ()
    """All other arguments: options with their values."""


def parts_of(argv: Sequence[str]) -> RunningParts:
    """Return the parts of a command line; argv: with the program as its first word."""
    return _parts_of(tuple(argv))


# A run asks three times for the parts of a VM: twice of the planned line, and of the running one, mostly its equal.
@lru_cache(maxsize=4096)
def _parts_of(argv: tuple[str, ...]) -> RunningParts:
    groups = _groups(argv)
    names = [json.loads(value)["node-name"] for option, value in _values(groups, "-blockdev") if _is_json(value)]
    disks = {disk_of_node(name) for name in names if name == disk_node(disk_of_node(name), "storage")} - {""}
    disks |= _cd_drives(groups)
    networks = {_property(value, "id") for _option, value in _values(groups, "-netdev")}
    collected: dict[tuple[str, str], dict[str, list[str]]] = {}
    controllers: dict[str, str] = {}
    rest: list[tuple[str, ...]] = []
    sized: set[str] = set()
    for group in groups:
        owner = _owner(group, disks, networks)
        # The unit's own arguments come first, and extra_args may have them again.
        if is_size(group) and group[0] not in sized:
            sized.update({group[0]} & {"-m", "-smp"})
        elif owner == _CONTROLLER:
            controllers[_property(group[1], "id")] = group[1]
        elif owner is None:
            rest.append(group)
        else:
            collected.setdefault(owner, {}).setdefault(group[0], []).append(group[1])
    parts = {owner: _part(found) for owner, found in collected.items()}
    return RunningParts(
        {name: part for (kind, name), part in parts.items() if kind == "disk"},
        {name: part for (kind, name), part in parts.items() if kind == "network"},
        controllers,
        sizes_of(argv),
        tuple(rest),
    )


_CONTROLLER = ("controller", "")


def _cd_drives(groups: Sequence[tuple[str, ...]]) -> set[str]:
    """Return the CD drives, of which an empty one has no node; those of extra_args do not count."""
    screen = next((number for number, group in enumerate(groups) if group[0] in _SCREEN), len(groups))
    devices = [properties_of(value) for _option, value in _values(groups[:screen], "-device")]
    return {one.get("id", "") for one in devices if one.get("driver") in cd_drive.DRIVERS.values()} - {""}


def _groups(argv: Sequence[str]) -> list[tuple[str, ...]]:
    """Return options with their values; a word that no option takes is a group of its own."""
    groups: list[tuple[str, ...]] = []
    words = list(argv[1:])
    while words:
        word = words.pop(0)
        takes_value = word.startswith("-") and words and not words[0].startswith("-")
        groups.append((word, words.pop(0)) if takes_value else (word,))
    return groups


def _values(groups: Sequence[tuple[str, ...]], option: str) -> list[tuple[str, str]]:
    return [(group[0], group[1]) for group in groups if len(group) == 2 and group[0] == option]


def _owner(group: tuple[str, ...], disks: set[str], networks: set[str]) -> tuple[str, str] | None:
    """Return the kind and name of what an option belongs to; None if it belongs to the VM itself."""
    if len(group) != 2 or group[0] not in _OF_PARTS:
        return None
    option, value = group
    if option == "-blockdev":
        name = disk_of_node(json.loads(value)["node-name"]) if _is_json(value) else ""
        return ("disk", name) if name in disks else None
    identifier = _property(value, "id")
    if option == "-netdev":
        return ("network", identifier)
    name = identifier.partition(".")[0]
    if option == "-device" and identifier == nic_id(name) and name in networks:
        return ("network", name)
    if option == "-device" and value.startswith("virtio-scsi-pci,") and not disk_of_node(identifier):
        return _CONTROLLER
    return ("disk", name) if name in disks else None


def _part(found: Mapping[str, Sequence[str]]) -> Part:
    return Part(
        tuple(found.get("-object", ())),
        tuple(compact(json.loads(node)) for node in found.get("-blockdev", ())),
        tuple(found.get("-device", ())),
        tuple(found.get("-netdev", ())),
    )


def _is_json(value: str) -> bool:
    return value.startswith("{")


def words_of(args: Args) -> list[str]:
    """Return a command line of a unit as the words that QEMU gets."""
    return [word for group in args for word in group]


def properties_of(argument: str) -> dict[str, str]:
    """Return the properties of ``-object``, ``-device`` or ``-netdev``; the first word is the driver."""
    pairs = (part.replace(",,", ",").partition("=") for part in COMMA.split(argument))
    return {name if equals else "driver": value if equals else name for name, equals, value in pairs}


def needs_port(part: Part, running: RunningParts, planned: RunningParts) -> bool:
    """Return if a device of a part is behind a port that only the planned VM has: ports cannot be plugged."""
    new = {_property(group[-1], "id") for group in planned.rest if group not in running.rest and is_port(group)}
    return bool(new & set(_buses(part, planned)))


def _buses(part: Part, planned: RunningParts) -> Iterator[str]:
    """Yield the buses of the devices of a part, and that of the controller that it shares."""
    for device in part.devices:
        bus = _property(device, "bus")
        yield bus
        yield _property(planned.controllers.get(bus.rpartition(".")[0], ""), "bus")


def is_port(group: tuple[str, ...]) -> bool:
    """Return if an option with its value is a PCI Express port."""
    return group[-1].startswith("pcie-root-port,")


def _property(argument: str, name: str) -> str:
    return properties_of(argument).get(name, "")
