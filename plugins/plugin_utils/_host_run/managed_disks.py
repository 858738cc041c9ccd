# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The disks of VMs whose images the collection manages, and the results for them. No I/O."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.vm import Vm
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.vm_disks import ManagedDisk
from ansible_collections.directdisk.qemu.plugins.module_utils._options.read import raise_collected
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.disk_requests import Diff, DiskResult, DisksAnswer
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.host_state import ObserveAnswer


def managed_disks(vms: Iterable[Vm], declared: Mapping[str, Any]) -> list[ManagedDisk]:
    """Return the disks whose images are managed; declared: the declaration from which the VMs were read."""
    return [
        ManagedDisk(vm.name, disk.name, declared[vm.name]["disks"][disk.name])
        for vm in vms
        if vm.state != "absent"
        for disk in vm.disks
        if disk.kept
    ]


@dataclass(frozen=True)
class DiskResults:
    """The results of qemu_disks, or the predictions in the observation of a host."""

    results: Sequence[tuple[ManagedDisk, DiskResult]] = ()
    diff: Sequence[Diff] = ()
    warnings: Sequence[str] = ()

    @classmethod
    def from_answer(cls, disks: Iterable[ManagedDisk], answer: DisksAnswer) -> DiskResults:
        """Read the answer of qemu_disks to a request for these disks."""
        return cls(tuple(zip(disks, answer["disks"])), answer["diff"], answer["warnings"])

    @classmethod
    def from_observation(cls, disks: Iterable[ManagedDisk], answer: ObserveAnswer) -> DiskResults:
        """Read the predictions for these disks; there are none if no disk is managed."""
        return cls.from_answer(disks, answer["disks"]) if "disks" in answer else cls()

    @property
    def failures(self) -> dict[str, list[str]]:
        """Return why disks failed, by VM."""
        failures: dict[str, list[str]] = {}
        for disk, result in self.results:
            if result.get("failed"):
                failures.setdefault(disk.vm, []).extend(result["msg"].splitlines())
        return failures

    @property
    def rows(self) -> dict[str, DiskResult]:
        """Return the results by the names of the disks."""
        return {disk.name: result for disk, result in self.results}

    @property
    def actions(self) -> list[str]:
        """Return the actions, one line each."""
        return [f"disk {disk.name}: {line}" for disk, result in self.results for line in result.get("actions") or ()]

    def without(self, vms: Container[str]) -> DiskResults:
        """Return the results without the disks of some VMs."""
        return DiskResults([(disk, result) for disk, result in self.results if disk.vm not in vms], self.diff)

    def of(self, disks: Iterable[ManagedDisk]) -> DiskResults:
        """Return the results of some of the disks."""
        names = {disk.name for disk in disks}
        results = [(disk, result) for disk, result in self.results if disk.name in names]
        headers = {f"disk {name}" for name in names}
        return DiskResults(results, [shown for shown in self.diff if shown["before_header"] in headers], self.warnings)

    def plus(self, other: DiskResults) -> DiskResults:
        """Return these results and those of other disks."""
        warnings = [*self.warnings, *other.warnings]
        return DiskResults([*self.results, *other.results], [*self.diff, *other.diff], warnings)

    def refuse(self) -> None:
        """Raise DeclarationError for disks whose declaration qemu_disks refuses."""
        refused = [result["msg"] for _disk, result in self.results if result.get("refused")]
        raise_collected([DeclarationError("", line) for message in refused for line in message.splitlines()])

    def due(self) -> DiskResults:
        """Return the results that are changes, without those of VMs with a disk that failed."""
        failed = self.failures
        results = [(disk, result) for disk, result in self.results if result["changed"] and disk.vm not in failed]
        headers = {f"disk {disk.name}" for disk, _result in results}
        return DiskResults(tuple(results), [shown for shown in self.diff if shown["before_header"] in headers])
