# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The disks of machines that are made and kept as declared: what qemu_disks is asked, and what it answers. No I/O."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.vm import Machine
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError
from ansible_collections.directdisk.qemu.plugins.module_utils._options.read import raise_collected
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.changes import RUNNING
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.plan import Plan
from ansible_collections.directdisk.qemu.plugins.module_utils._units import paths


@dataclass(frozen=True)
class ManagedDisk:
    """One disk, as a person declared it."""

    vm: str
    disk: str
    declared: Mapping[str, Any]

    @property
    def name(self) -> str:
        """What results and errors call it."""
        return f"{self.disk} of {self.vm}"


def managed_disks(machines: Iterable[Machine], vms: Mapping[str, Any]) -> list[ManagedDisk]:
    """The disks whose images are made and kept; vms: the declaration that the machines were read from."""
    return [
        ManagedDisk(machine.name, disk.name, vms[machine.name]["disks"][disk.name])
        for machine in machines
        if machine.state != "absent"
        for disk in machine.disks
        if disk.kept
    ]


def request(kept: Iterable[ManagedDisk], plans: Iterable[Plan], observed: Mapping[str, Any]) -> dict[str, Any]:
    """The disks as qemu_disks takes them; a disk of a running machine is grown by the machine itself."""
    running = {
        (plan.machine.name, planned.disk.name): planned.graph.base
        for plan in plans
        if observed["units"].get(paths.unit_name(plan.machine.name), {}).get("active") in RUNNING
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
        for disk in kept
    }


@dataclass(frozen=True)
class DiskResults:
    """What qemu_disks did, or would do."""

    results: Sequence[tuple[ManagedDisk, Mapping[str, Any]]] = ()
    diff: Sequence[Mapping[str, Any]] = ()

    @classmethod
    def of(cls, kept: Iterable[ManagedDisk], answer: Mapping[str, Any]) -> DiskResults:
        """From the answer of the module to a request for these disks."""
        return cls(tuple(zip(kept, answer["disks"])), answer["diff"])

    @property
    def failures(self) -> dict[str, list[str]]:
        """Why disks failed, by the names of their machines."""
        found: dict[str, list[str]] = {}
        for disk, result in self.results:
            if result.get("failed"):
                found.setdefault(disk.vm, []).extend(result["msg"].splitlines())
        return found

    @property
    def rows(self) -> dict[str, Mapping[str, Any]]:
        """The results by the names of the disks."""
        return {disk.name: result for disk, result in self.results}

    @property
    def actions(self) -> list[str]:
        """What was changed, one line each."""
        return [f"disk {disk.name}: {line}" for disk, result in self.results for line in result.get("actions") or ()]

    def without(self, vms: Container[str]) -> DiskResults:
        """The same without the disks of some VMs."""
        return DiskResults([(disk, result) for disk, result in self.results if disk.vm not in vms], self.diff)

    def refuse(self) -> None:
        """Raise for disks that cannot be as they are declared, as for all else that is wrong with a declaration."""
        refused = [result["msg"] for _disk, result in self.results if result.get("refused")]
        raise_collected([DeclarationError("", line) for message in refused for line in message.splitlines()])

    def due(self) -> DiskResults:
        """Only what changes, and not what belongs to a machine of which another disk failed."""
        failed = self.failures
        results = [(disk, result) for disk, result in self.results if result["changed"] and disk.vm not in failed]
        headers = {f"disk {disk.name}" for disk, _result in results}
        return DiskResults(tuple(results), [shown for shown in self.diff if shown["before_header"] in headers])
