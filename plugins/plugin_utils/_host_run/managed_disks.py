# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The disks of VMs whose images the collection manages: the request to qemu_disks, and its results. No I/O."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.vm import Vm
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError
from ansible_collections.directdisk.qemu.plugins.module_utils._options.read import raise_collected
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.changes import RUNNING
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.host_state import ObservedHost
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.plan import Plan
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
        return f"{self.disk} of {self.vm}"


def managed_disks(vms: Iterable[Vm], declared: Mapping[str, Any]) -> list[ManagedDisk]:
    """Return the disks whose images are managed; declared: the declaration from which the VMs were read."""
    return [
        ManagedDisk(vm.name, disk.name, declared[vm.name]["disks"][disk.name])
        for vm in vms
        if vm.state != "absent"
        for disk in vm.disks
        if disk.kept
    ]


def request(disks: Iterable[ManagedDisk], plans: Iterable[Plan], observed: ObservedHost) -> dict[str, Any]:
    """Return the option disks of qemu_disks; a disk of a running VM is grown over the VM's monitor."""
    units = {unit for unit, state in observed["units"].items() if state["active"] in RUNNING}
    running = {
        (plan.vm.name, planned.disk.name): planned.graph.base
        for plan in plans
        if paths.unit_name(plan.vm.name) in units
        for planned in plan.disks
    }
    return {
        disk.name: {
            **disk.declared,
            **(
                {"monitor": paths.qmp_socket(disk.vm), "node": running[disk.vm, disk.disk]}
                if (disk.vm, disk.disk) in running
                else {}
            ),
        }
        for disk in disks
    }


class _DiskResult(TypedDict):
    name: str
    changed: bool


class DiskResult(_DiskResult, total=False):
    """The result of one disk in the answer of qemu_disks; the module documents its further members."""

    failed: bool
    refused: bool
    """If the declaration is wrong, so that nothing at all may change."""
    msg: str
    actions: list[str]


class DisksAnswer(TypedDict):
    """The answer of qemu_disks, as far as it is read here."""

    disks: list[DiskResult]
    diff: list[dict[str, str]]


@dataclass(frozen=True)
class DiskResults:
    """The results of qemu_disks, or its predictions."""

    results: Sequence[tuple[ManagedDisk, DiskResult]] = ()
    diff: Sequence[Mapping[str, str]] = ()

    @classmethod
    def from_answer(cls, disks: Iterable[ManagedDisk], answer: DisksAnswer) -> DiskResults:
        """Read the answer of qemu_disks to a request for these disks."""
        return cls(tuple(zip(disks, answer["disks"])), answer["diff"])

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

    def plus(self, other: DiskResults) -> DiskResults:
        """Return these results and those of other disks."""
        return DiskResults([*self.results, *other.results], [*self.diff, *other.diff])

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
