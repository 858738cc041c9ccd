# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The graph of a running QEMU's block nodes, from commands that ask no storage.

Commands that tell the sizes of images (query-block, query-named-block-nodes) ask the storage of all disks in QEMU's
main loop: a server of NFS, GlusterFS or Ceph that does not answer would halt the guest (QEMU 7.2, 10.0).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ansible_collections.directdisk.qemu.plugins.module_utils._clients.qmp import Monitor


class Edge(NamedTuple):
    """A child of a node."""

    role: str
    """The reason why it is open: file, backing, data-file, ..."""
    child: str


def node_names(monitor: Monitor) -> list[str]:
    """Return the names of all block nodes."""
    listed = monitor.execute("query-blockstats", {"query-nodes": True})
    return [str(one["node-name"]) for one in listed if "node-name" in one]


def edges(monitor: Monitor) -> dict[str, list[Edge]]:
    """Return the children of block nodes, by their names."""
    graph = monitor.execute("x-debug-query-block-graph")
    names = {one["id"]: str(one["name"]) for one in graph["nodes"] if one["type"] == "block-driver"}
    children: dict[str, list[Edge]] = {}
    for edge in graph["edges"]:
        if edge["parent"] in names and edge["child"] in names:
            children.setdefault(names[edge["parent"]], []).append(Edge(str(edge["name"]), names[edge["child"]]))
    return children


def below(children: Mapping[str, Sequence[Edge]], tops: Sequence[str]) -> list[Edge]:
    """Return the edges to all nodes below some, each node after one of its parents."""
    known = list(tops)
    found: list[Edge] = []
    for name in known:
        for edge in children.get(name, ()):
            if edge.child not in known:
                known.append(edge.child)
                found.append(edge)
    return found
