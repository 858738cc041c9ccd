# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""VMs that are made again from their sources: their disks are removed, created and the VMs started. No I/O."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.vm import Vm
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.vm_disks import ManagedDisk
from ansible_collections.directdisk.qemu.plugins.module_utils._options.read import raise_collected
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.disk_requests import Diff, DiskResult, DisksAnswer
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.host_state import ObservedHost
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.vm_states import STOPPED
from ansible_collections.directdisk.qemu.plugins.module_utils._units import paths
from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run import steps
from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run.managed_disks import DiskResults

_LEFT_OUT = ("force", "restore")
"""Options of provision that do not apply: nobody else's image is removed, and no former one is taken back."""


@dataclass(frozen=True)
class Recreation:
    """The VMs of a host that a run makes again."""

    disks: Sequence[ManagedDisk] = ()
    """The disks that are removed and created from their sources."""
    lines: Mapping[str, str] = field(default_factory=dict)
    """Descriptions of the new images, by the names of the disks."""
    running: frozenset[str] = frozenset()
    """The VMs that are stopped first."""

    @property
    def actions(self) -> list[str]:
        """Return the actions before those of the disks, one line each."""
        return [f"stop vm {name}" for name in sorted(self.running)]

    def without(self, vms: Collection[str]) -> Recreation:
        """Return the recreation without some VMs."""
        disks = [disk for disk in self.disks if disk.vm not in vms]
        return replace(self, disks=disks, running=self.running - set(vms))

    def others(self, managed: Iterable[ManagedDisk]) -> list[ManagedDisk]:
        """Return the managed disks that are not made again."""
        names = {disk.name for disk in self.disks}
        return [disk for disk in managed if disk.name not in names]

    def stopped_first(self, observed: ObservedHost) -> ObservedHost:
        """Return the observation as it will be once these VMs have stopped."""
        return steps.with_stopped(observed, self.running)

    def removals(self, *, predict: bool) -> dict[str, Any]:
        """Return the option disks of qemu_disks that removes the images; predict: their VMs still run."""
        return {disk.name: self._removal(disk, closing=predict and disk.vm in self.running) for disk in self.disks}

    @staticmethod
    def _removal(disk: ManagedDisk, *, closing: bool) -> dict[str, Any]:
        kept = {name: value for name, value in disk.declared.items() if name != "provision"}
        provision = without_force(disk.declared.get("provision") or {})
        more = {"closing": disk.vm} if closing else {}
        return {**kept, **({"provision": provision} if provision else {}), "state": "absent", **more}

    def predicted(self, answer: DisksAnswer | None) -> DiskResults:
        """Return the results of the disks that are made again; answer: the prediction of their removal."""
        if answer is None:
            return DiskResults()
        results = [(disk, self._result(disk, removal)) for disk, removal in zip(self.disks, answer["disks"])]
        diff: list[Diff] = [
            {
                "before_header": f"disk {disk.name}",
                "prepared": f"disk {disk.name}: " + "; ".join(result["actions"]) + "\n",
            }
            for disk, result in results
            if result["changed"]
        ]
        return DiskResults(results, diff)

    def _result(self, disk: ManagedDisk, removal: DiskResult) -> DiskResult:
        if removal.get("failed"):
            return removal
        return {**removal, "changed": True, "actions": [*(removal.get("actions") or ()), self.lines[disk.name]]}


def recreation_of(
    vms: Iterable[Vm], names: Collection[str], managed: Iterable[ManagedDisk], observed: ObservedHost
) -> Recreation:
    """Return what is made again of the VMs with these names; raise all reasons why one cannot be."""
    lines: dict[str, str] = {}
    errors: list[Exception] = []
    running: set[str] = set()
    for vm in vms:
        if vm.name not in names:
            continue
        try:
            lines.update(_new_images(vm))
        except DeclarationError as error:
            errors.append(error)
        unit = observed["units"].get(paths.unit_name(vm.name))
        if unit and unit["active"] not in STOPPED:
            running.add(vm.name)
    raise_collected(errors)
    return Recreation([disk for disk in managed if disk.name in lines], lines, frozenset(running))


def _new_images(vm: Vm) -> dict[str, str]:
    """Return descriptions of the images that a VM begins with, by the names of the disks."""
    if vm.state == "absent":
        raise DeclarationError(f"vm {vm.name}", "is declared absent, so it is not made again")
    sources = [(disk, disk.origin) for disk in vm.disks if disk.origin]
    for disk, _origin in sources:
        if disk.writes == "overlay":
            raise DeclarationError(
                f"disk {disk.name} of {vm.name}",
                "its image has a source and the guest's writes are in an overlay, which would not fit a new image; "
                "set writes: keep, or remove source",
            )
    found = {
        f"{disk.name} of {vm.name}": f"create {disk.described}, a copy of {origin.described}"
        for disk, origin in sources
        if disk.writes == "keep"
    }
    if not found:
        raise DeclarationError(
            f"vm {vm.name}", "has no disk with source and writes: keep, so nothing can be made again"
        )
    return found


def without_force(provision: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of an image without those that would touch what others have open."""
    return {name: value for name, value in provision.items() if name not in _LEFT_OUT}
