# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The images that a VM's QEMU may have opened. Its start compares them with those that QEMU did open. Pure.

No option of QEMU keeps it from opening the external data file that the header of a qcow2 names. So QEMU starts without
running the guest (``-S``), and the guest runs once qemu-vm-control.py has seen that no header has opened a file.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

from ansible_collections.directdisk.qemu.plugins.module_utils._backends.values import Values
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.vm import Vm
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.blockdev import Graph, overlay_node


class _StartCheck(TypedDict):
    images: dict[str, Values | None]
    """By base node, the declared backing file of a disk's image."""
    overlays: list[str]
    """Nodes whose backing is another node, whatever their headers name."""
    run: bool
    """Start the guest after the check."""


class StartCheck(_StartCheck, total=False):
    """The images that QEMU may have opened, and what is set before the guest runs."""

    links_down: list[str]
    """Networks whose link is down: no option of QEMU starts it so."""


_NOT_RUNNING = ("S", "incoming")
"""Options of QEMU with which the guest does not run until somebody starts it."""


def starts_paused(vm: Vm) -> bool:
    """Return if the VM's extra arguments make the guest wait for a user or a migration."""
    return any(word.lstrip("-") in _NOT_RUNNING for word in vm.settings.get("extra_args", ()))


def start_check(vm: Vm, graphs: Sequence[tuple[Disk, Graph]], *, asks_owners: bool) -> StartCheck:
    """Return the input of qemu-vm-control.py; asks_owners: a later command of the unit starts the guest."""
    images = {graph.base: disk.backing or None for disk, graph in graphs}
    overlays = [overlay_node(disk.name) for disk, graph in graphs if graph.overlay]
    check: StartCheck = {"images": images, "overlays": overlays, "run": not asks_owners and not starts_paused(vm)}
    if links_down(vm):
        check["links_down"] = links_down(vm)
    return check


def links_down(vm: Vm) -> list[str]:
    """Return the networks of a VM whose link is down."""
    return [network.name for network in vm.networks if network.link == "down"]
