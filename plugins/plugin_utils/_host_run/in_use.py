# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the storage says of who has it open, for the machines that are to start. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.vm import Vm


def storage_not_asked(vms: Iterable[Vm], observed: Mapping[str, Any], host: str) -> list[str]:
    """A warning for each disk of which its storage did not say who has it open."""
    return [
        f"{host}: {where}: it is not known who has it open ({observed['not_asked'][disk.identity]}); "
        "the unit asks again when it starts"
        for where, disk in _disks(vms)
        if disk.identity in observed["not_asked"]
    ]


def _disks(vms: Iterable[Vm]) -> Iterator[tuple[str, Disk]]:
    for vm in vms:
        for disk in vm.disks if vm.state == "started" else ():
            if disk.writes == "keep":
                yield f"disk {disk.name} of {vm.name}: {disk.described}", disk
