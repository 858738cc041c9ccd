# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Warnings about storage that did not answer who has it open, for the VMs that will start. Pure."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator

from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.vm import Vm
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.host_state import ObservedHost


def storage_not_asked(vms: Iterable[Vm], observed: ObservedHost, host: str, changing: Container[str] = ()) -> list[str]:
    """Return a warning for each disk whose storage did not answer who has it open.

    changing: names of the disks that the run creates or changes; nobody has one open that is not there yet.
    """
    return [
        f"{host}: {where}: it is not known who has it open ({observed['not_asked'][disk.identity]}); "
        "the unit asks again when it starts"
        for where, disk in _disks(vms, changing)
        if disk.identity in observed["not_asked"]
    ]


def _disks(vms: Iterable[Vm], changing: Container[str]) -> Iterator[tuple[str, Disk]]:
    for vm in vms:
        for disk in vm.disks if vm.state == "started" else ():
            name = f"{disk.name} of {vm.name}"
            if disk.writes == "keep" and name not in changing:
                yield f"disk {name}: {disk.described}", disk
