# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of a disk that change while its VM runs: limits, discard and detect_zeroes. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._plan.live_state import ObservedProcess
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.running_parts import Part, properties_of

OLDEST_QEMU = (6, 2)
"""The first release that puts another node under a device, and has blockdev-reopen."""
_LIMITED = [f"{unit}-{operation}" for unit in ("bps", "iops") for operation in ("total", "read", "write")]
_NO_LIMITS = {
    **dict.fromkeys([*_LIMITED, *(f"{name}-max" for name in _LIMITED), "iops-size"], 0),
    **dict.fromkeys([f"{name}-max-length" for name in _LIMITED], 1),
}
"""Members of ThrottleLimits (QEMU, qapi/block-core.json); a burst lasts a second."""
_REOPENED = ("discard", "detect-zeroes")
_REOPENING = ("copy-on-read", "file", "gluster", "host_device", "iscsi", "luks", "nbd", "nfs", "qcow2", "raw", "rbd")
"""QEMU's drivers that reopen a node with other options (bdrv_reopen_prepare)."""
_ON_ERROR = ("werror", "rerror")


@dataclass(frozen=True)
class OptionChanges:
    """The changes of one disk, or the reason why it needs a restart."""

    limit: bool = False
    reopen: bool = False
    reason: str = ""


def option_changes(before: Part, after: Part, release: Sequence[int]) -> OptionChanges:
    """Return the changes that lead from one part to another; release: of the QEMU that runs."""
    if _others(before) != _others(after):
        return OptionChanges(reason=_difference(before, after))
    filters = bool(throttle_node(before)) != bool(throttle_node(after))
    changed = _reopened_nodes(before, after)
    stuck = [driver for driver in changed if driver not in _REOPENING and driver != "throttle"]
    new_enough = tuple(release) >= OLDEST_QEMU
    if filters and (_is_usb(after) or not new_enough):
        return OptionChanges(reason="limits, and had none or has none now")
    if changed and (stuck or not new_enough):
        driver = f", which QEMU's driver {stuck[0]} cannot change" if stuck else ""
        return OptionChanges(reason=f"discard or detect_zeroes{driver}")
    return OptionChanges(limit=filters or throttle_groups(before) != throttle_groups(after), reopen=bool(changed))


def drifted_limits(disks: Mapping[str, Part], process: ObservedProcess) -> list[str]:
    """Return the disks whose limits somebody has changed, or whose limits a run that was ended has changed."""
    return [name for name, part in disks.items() if _has_other_limits(name, part, process)]


def _has_other_limits(name: str, part: Part, process: ObservedProcess) -> bool:
    node = throttle_node(part)
    if not node:
        return f"{name}.throttle" in process["nodes"]
    now = process["limits"].get(node["throttle-group"])
    return now is not None and now != limits_of(throttle_groups(part)[0])


def throttle_node(part: Part) -> dict[str, Any]:
    """Return the node that limits a disk; empty if it has none."""
    return next((node for node in map(json.loads, part.nodes) if node["driver"] == "throttle"), {})


def limits_of(argument: str) -> dict[str, int]:
    """Return the limits of a throttle group, by the names that they have once it exists."""
    options = properties_of(argument)
    return {**_NO_LIMITS, **{name[len("x-") :]: int(value) for name, value in options.items() if name[:2] == "x-"}}


def known_limits(limits: Mapping[str, Any]) -> dict[str, int]:
    """Return the limits among the members that QEMU lists."""
    return {name: limits.get(name, default) for name, default in _NO_LIMITS.items()}


def throttle_groups(part: Part) -> tuple[str, ...]:
    """Return the objects that hold the limits of a disk."""
    return tuple(one for one in part.objects if one.startswith("throttle-group,"))


def _others(part: Part) -> tuple[Collection[str], Collection[Any], Collection[str]]:
    """Return a part without what can change."""
    nodes = [node for node in map(json.loads, part.nodes) if node["driver"] != "throttle"]
    bare = [{name: value for name, value in node.items() if name not in _REOPENED} for node in nodes]
    devices = [re.sub(r",drive=[^,]*", "", device) for device in part.devices]
    return [one for one in part.objects if one not in throttle_groups(part)], bare, devices


def _reopened_nodes(before: Part, after: Part) -> list[str]:
    """Return the drivers of the nodes that get other options."""
    former = {node["node-name"]: node for node in map(json.loads, before.nodes)}
    return [
        node["driver"]
        for node in map(json.loads, after.nodes)
        if node["node-name"] in former
        and any(node.get(name) != former[node["node-name"]].get(name) for name in _REOPENED)
    ]


def _is_usb(part: Part) -> bool:
    """Return if the disk is a USB stick: its device hands the disk on to another one."""
    return bool(part.devices) and part.devices[-1].startswith("usb-storage,")


def _difference(before: Part, after: Part) -> str:
    """Return what a disk has other than before."""
    objects, nodes, devices = _others(before)
    if nodes != _others(after)[1]:
        return "storage, or other options of it"
    if objects != _others(after)[0]:
        return "secrets or threads"
    if list(devices) != list(_others(after)[2]) and _without_on_error(before) == _without_on_error(after):
        return "on_error, which a device keeps"
    return "properties in the guest"


def _without_on_error(part: Part) -> list[dict[str, str]]:
    dropped = (*_ON_ERROR, "drive")
    return [
        {name: value for name, value in properties_of(device).items() if name not in dropped} for device in part.devices
    ]
