# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The node graph of a disk: the ``-blockdev`` dicts from the storage to the node of the guest's device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._backends.resources import UnitResources
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.values import Node, Values
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._units.compact_json import compact
from ansible_collections.directdisk.qemu.plugins.module_utils._units.node_names import disk_node


@dataclass(frozen=True)
class Graph:
    """The nodes of one disk, each after the nodes below it."""

    nodes: tuple[Node, ...]
    top: str
    """Name of the node that the guest's device opens."""
    base: str
    """Name of the node that holds the declared image."""
    overlay: str = ""
    """Path of the qcow2 that takes the guest's writes."""

    def base_nodes(self) -> tuple[Node, ...]:
        """Return the nodes up to the declared image."""
        names = [node["node-name"] for node in self.nodes]
        return self.nodes[: names.index(self.base) + 1]

    @property
    def backing(self) -> str:
        """The name of the declared image in the header of an overlay."""
        return f"json:{compact(nest(self.base_nodes()))}"


def nest(nodes: tuple[Node, ...]) -> Node:
    """Return a chain of nodes as one nested dict for ``json:``, with only the members that are needed to open them."""
    nested: Node | None = None
    for node in nodes:
        bare = {
            key: value
            for key, value in node.items()
            if key not in ("node-name", "cache", "discard", "detect-zeroes", "read-only")
        }
        nested = {**bare, "file": nested} if nested else bare
    return nested or {}


def base_node(disk: str) -> str:
    """Return the name of the node that holds the declared image of a disk."""
    return disk_node(disk, "format")


def build_graph(disk: Disk, storage: Node, resources: UnitResources, overlay: str) -> Graph:
    """Return the graph of a disk; storage: its protocol node; overlay: path of the local qcow2, if it has one."""
    name = disk.name
    common = _common(disk.settings)
    base_read_only = disk.writes != "keep"
    nodes: list[Node] = [{**storage, "node-name": disk_node(name, "storage"), "read-only": base_read_only, **common}]
    nodes += _format_nodes(disk, resources, {"read-only": base_read_only, **common})
    base = nodes[-1]["node-name"]
    layered = disk.writes in ("overlay", "discard")
    if layered:
        nodes += _overlay_nodes(name, base, overlay, common)
    if disk.settings["copy_on_read"]:
        nodes.append(
            {"driver": "copy-on-read", "node-name": disk_node(name, "cor"), "file": nodes[-1]["node-name"], **common}
        )
    if "iops" in disk.settings or "bps" in disk.settings:
        group = resources.object("throttle-group", "limits", **_throttle_properties(disk.settings))
        nodes.append(
            {
                "driver": "throttle",
                "node-name": disk_node(name, "throttle"),
                "throttle-group": group,
                "file": nodes[-1]["node-name"],
                "read-only": disk.writes == "deny",
                **common,
            }
        )
    return Graph(tuple(nodes), nodes[-1]["node-name"], base, overlay if layered else "")


def _common(settings: Values) -> Node:
    """Return the options of every node of a disk that differ from QEMU's defaults; nodes do not inherit them."""
    common: Node = {}
    cache = settings["cache"]
    if cache in ("none", "directsync", "unsafe"):
        common["cache"] = {"direct": cache != "unsafe", "no-flush": cache == "unsafe"}
    if settings["discard"] != "ignore":
        common["discard"] = settings["discard"]
    if settings["detect_zeroes"] != "off":
        common["detect-zeroes"] = settings["detect_zeroes"]
    return common


def _format_nodes(disk: Disk, resources: UnitResources, common: Node) -> list[Node]:
    storage = disk_node(disk.name, "storage")
    node: Node = {
        "driver": disk.settings["format"],
        "node-name": base_node(disk.name),
        "file": storage,
        **common,
    }
    if disk.settings["format"] in ("qcow2", "vmdk") and not disk.backing:
        # Otherwise QEMU opens any file that the header names as backing file, and the guest can read it.
        node["backing"] = None
    luks = disk.settings.get("luks")
    if not luks:
        return [node]
    key = resources.secret("luks", luks["passphrase"])
    if disk.settings["format"] == "qcow2":
        return [{**node, "encrypt": {"format": "luks", "key-secret": key}}]
    return [{**node, "driver": "luks", "key-secret": key}]


def overlay_node(disk: str) -> str:
    """Return the name of the overlay's node."""
    return disk_node(disk, "overlay")


def writes_node(disk: str) -> str:
    """Return the name of the node of the overlay's file."""
    return disk_node(disk, "writes")


def _overlay_nodes(name: str, base: str, path: str, common: Node) -> list[Node]:
    """Return the nodes of a qcow2 whose backing file is the base node, whatever its header names."""
    return [
        {"driver": "file", "node-name": writes_node(name), "filename": path, "read-only": False, **common},
        {
            "driver": "qcow2",
            "node-name": overlay_node(name),
            "file": writes_node(name),
            "backing": base,
            "read-only": False,
            **common,
        },
    ]


def _throttle_properties(settings: Values) -> dict[str, str]:
    """Return the limits as properties of a throttle group, in the spelling that every version of QEMU accepts."""
    properties: dict[str, Any] = {}
    for kind in ("iops", "bps"):
        for option, value in settings.get(kind, {}).items():
            properties[f"x-{kind}-{option.replace('_', '-')}"] = str(value)
    return properties
