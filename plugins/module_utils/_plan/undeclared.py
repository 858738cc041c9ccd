# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Devices and nodes of a running VM that no declaration names: somebody has added them over its monitor. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._errors import printable
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.live_state import (
    LiveDisk,
    LiveNetwork,
    ObservedProcess,
    UndeclaredDevice,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.running_parts import (
    Part,
    RunningParts,
    parts_of,
    properties_of,
)

_NAMES = ("id", "node-name")
_NAME = re.compile(r"(?:^|,)(?:[\w.-]+\.)?(?:id|node-name)=([^,]*)")
_AUTOMATIC = "#"
"""QEMU's own names of nodes begin with it."""


def names_of(process: ObservedProcess) -> set[str]:
    """Return the names of all that a process was started with or was given by a run since, and has not given back."""
    argv = process["argv"]
    parts = parts_of(argv)
    gone = [parts.disks[name] for name, disk in process["disks"].items() if disk is None and name in parts.disks]
    gone += [
        parts.networks[name] for name, one in process["networks"].items() if one is None and name in parts.networks
    ]
    started = {name for word in argv[1:] for name in _names_in(word)}
    given = {name for disk in process["disks"].values() if disk for name in _names_of_disk(disk)}
    given |= {name for one in process["networks"].values() if one for name in _names_of_network(one)}
    return (started - {name for part in gone for name in part_names(part)}) | given


def _names_in(word: str) -> Iterator[str]:
    """Yield the names in an argument, in either of QEMU's two forms."""
    if word.startswith("{"):
        try:
            yield from _names_in_json(json.loads(word))
        except ValueError:
            return
    else:
        yield from _NAME.findall(word)


def _names_in_json(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        yield from (str(value[name]) for name in _NAMES if name in value)
        for inner in value.values():
            yield from _names_in_json(inner)


def _names_of_disk(disk: LiveDisk) -> Iterator[str]:
    yield from (node["node-name"] for node in disk["nodes"])
    yield from (properties_of(one)["id"] for one in (disk["controller"], *disk["devices"]) if one)


def _names_of_network(network: LiveNetwork) -> Iterator[str]:
    yield from (properties_of(one)["id"] for one in (*network["netdevs"], *network["devices"]))


def part_names(part: Part) -> set[str]:
    """Return the ids of the devices of a disk or network and the names of its nodes."""
    return {properties_of(device)["id"] for device in part.devices} | {
        json.loads(node)["node-name"] for node in part.nodes
    }


def is_automatic(node: str) -> bool:
    """Return if QEMU has named a node itself: it goes with the node that it belongs to."""
    return node.startswith(_AUTOMATIC)


def described(device: UndeclaredDevice) -> str:
    """Describe a device in messages."""
    nodes = f", nodes {', '.join(map(printable, device['nodes']))}" if device["nodes"] else ""
    network = f", network {printable(device['netdev'])}" if device["netdev"] else ""
    return f"{printable(device['id'])} ({printable(device['driver'])}{nodes}{network})"


def unplug_lines(devices: Mapping[str, Sequence[UndeclaredDevice]]) -> list[str]:
    """Describe the removal of devices, by VM."""
    return [f"unplug undeclared device {described(one)} of {vm}" for vm, some in devices.items() for one in some]


def name_conflicts(
    vm: str, running: RunningParts, planned: RunningParts, process: ObservedProcess, added: Collection[tuple[str, str]]
) -> list[str]:
    """Return why disks and networks cannot be added to a VM: somebody has given their names to something else.

    added: the disks and networks that it is about to get, each with its kind.
    """
    present = {*process["nodes"], *process["devices"]}
    kinds = (("disk", running.disks, planned.disks), ("network", running.networks, planned.networks))
    return [
        f"{kind} {name} of {vm}: the running VM has {', '.join(taken)}, which somebody has added over its monitor, and "
        f"the {kind} needs the name; remove it there (device_del, then blockdev-del), or rename the {kind}; the VM is "
        "left as it is"
        for kind, now, then in kinds
        for name, part in then.items()
        if (kind, name) in added
        for taken in [_taken(part, now.get(name), present)]
        if taken
    ]


def _taken(part: Part, now: Part | None, present: Iterable[str]) -> list[str]:
    own = part_names(now) if now else set[str]()
    nodes = {json.loads(node)["node-name"] for node in part.nodes}
    taken = sorted((part_names(part) - own) & {*present})
    return [f"node {name}" if name in nodes else f"device {name}" for name in taken]


def removable(process: ObservedProcess) -> list[UndeclaredDevice]:
    """Return the devices that a run unplugs; none while a job, an export or a migration may use them."""
    return [] if process["jobs"] else process["undeclared"]


def undeclared_notes(vm: str, process: ObservedProcess) -> list[str]:
    """Return lines about what somebody has added to a VM, and no run removes."""
    jobs = ", ".join(process["jobs"])
    added = "was added over the monitor and is not declared"
    lines = [
        f"vm {vm}: device {described(one)} {added}; it stays until this has ended: {jobs}"
        for one in process["undeclared"]
        if jobs
    ]
    nodes = [f"vm {vm}: node {node} {added}, and no device uses it" for node in process["unused_nodes"]]
    return [*lines, *(f"{line}; if no job needs it, remove it there (blockdev-del)" for line in nodes)]


def is_paused_by_hand(process: ObservedProcess) -> bool:
    """Return if somebody has paused a VM; one that a migration brings has this state, too, until it has arrived."""
    return process["status"] == "paused" and "-incoming" not in process["argv"]
