# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of block nodes: "DISK.ROLE" for the nodes of a disk, "machine.ROLE" for those of the VM itself. Pure."""

from __future__ import annotations

_VM = "machine"
"""No disk may have this name."""


def disk_node(disk: str, role: str) -> str:
    """Return the name of a node of a disk."""
    return f"{disk}.{role}"


def vm_node(role: str) -> str:
    """Return the name of a node or device of the VM itself, such as its firmware."""
    return f"{_VM}.{role}"


def disk_of_node(node: str) -> str:
    """Return the disk that a node belongs to; empty for a node of the VM itself."""
    disk = node.partition(".")[0]
    return "" if disk == _VM else disk
