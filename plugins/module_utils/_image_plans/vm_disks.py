# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The disks of VMs whose images are managed, as qemu_disks takes them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._plan.blockdev import base_node
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.disk_requests import DiskToManage
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.host_state import UnitState
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.vm_states import RUNNING
from ansible_collections.directdisk.qemu.plugins.module_utils._units import paths


@dataclass(frozen=True)
class ManagedDisk:
    """One disk, as the user declared it."""

    vm: str
    disk: str
    declared: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Return the name of the disk in results and errors."""
        return name_of(self.vm, self.disk)

    @property
    def request(self) -> DiskToManage:
        """Return the disk as a part of a request."""
        return {"vm": self.vm, "disk": self.disk, "declared": self.declared}


def name_of(vm: str, disk: str) -> str:
    return f"{disk} of {vm}"


def entries_of(disks: Iterable[ManagedDisk], units: Mapping[str, UnitState]) -> dict[str, dict[str, Any]]:
    """Return the option disks of qemu_disks; a disk of a running VM is grown over the VM's monitor."""
    return {disk.name: {**disk.declared, **_monitor(disk, units)} for disk in disks}


def _monitor(disk: ManagedDisk, units: Mapping[str, UnitState]) -> dict[str, str]:
    unit = units.get(paths.unit_name(disk.vm))
    if unit is None or unit["active"] not in RUNNING:
        return {}
    return {"monitor": paths.qmp_socket(disk.vm), "node": base_node(disk.disk)}
