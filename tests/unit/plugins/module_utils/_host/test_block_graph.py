# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The graph of block nodes, as QEMU draws it."""

from __future__ import annotations

from pathlib import Path

from ansible_collections.directdisk.qemu.plugins.module_utils._clients.qmp import Monitor
from ansible_collections.directdisk.qemu.plugins.module_utils._host import block_graph
from ansible_collections.directdisk.qemu.plugins.module_utils._host.block_graph import Edge
from ansible_collections.directdisk.qemu.tests.unit.fake_qmp import FakeQemu

NODES = [
    {"id": 1, "type": "block-backend", "name": "top"},
    {"id": 2, "type": "block-driver", "name": "top"},
    {"id": 3, "type": "block-driver", "name": "left"},
    {"id": 4, "type": "block-driver", "name": "right"},
    {"id": 5, "type": "block-driver", "name": "file"},
]
EDGES = [(1, "root", 5), (2, "file", 3), (2, "backing", 4), (3, "file", 5), (4, "file", 5)]


def test_only_nodes_are_parents_and_a_node_with_two_is_found_once(tmp_path: Path) -> None:
    drawn = {"nodes": NODES, "edges": [{"parent": one, "name": role, "child": other} for one, role, other in EDGES]}
    with (
        FakeQemu(tmp_path / "qmp", answers={"x-debug-query-block-graph": drawn}) as qemu,
        Monitor.connect(qemu.path) as monitor,
    ):
        edges = block_graph.edges(monitor)
    assert edges["top"] == [Edge("file", "left"), Edge("backing", "right")]
    assert block_graph.below(edges, ["top"]) == [*edges["top"], Edge("file", "file")]
