# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The images that a VM's QEMU may have opened. Its start compares them with those that QEMU did open. Pure.

No option of QEMU keeps it from opening the external data file that the header of a qcow2 names. So QEMU starts without
running the guest (``-S``), and the guest runs once qemu-vm-control.py has seen that no header has opened a file.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.vm import Vm
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.blockdev import Graph, overlay_node

_NOT_RUNNING = ("S", "incoming")
"""Options of QEMU with which a person leaves it to somebody else to let the guest run."""


def starts_paused(vm: Vm) -> bool:
    """Whether QEMU's own arguments have the guest wait for a person, or for a migration."""
    return any(word.lstrip("-") in _NOT_RUNNING for word in vm.settings.get("extra_args", ()))


def start_check(vm: Vm, graphs: Sequence[tuple[Disk, Graph]], *, asks_owners: bool) -> dict[str, Any]:
    """``images``: the declared backing file of each disk's image, or None; ``overlays``: nodes whose backing is another
    node, whatever their headers name; ``run``: let the guest run.

    asks_owners: a later command of the unit asks the storage who has it open, and lets the guest run then.
    """
    images = {graph.base: disk.backing or None for disk, graph in graphs}
    overlays = [overlay_node(disk.name) for disk, graph in graphs if graph.overlay]
    return {"images": images, "overlays": overlays, "run": not asks_owners and not starts_paused(vm)}
