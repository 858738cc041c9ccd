# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of disks that are only opened, before their VMs open them. No I/O.

A disk that is declared raw must not be an image of another format, and a qcow2 that a running VM is given must not name
other files (the start of a VM sees to that itself). Storage whose disk is attached to a running VM must
answer: QEMU does nothing else until it has opened a disk, so its guest would halt (seen with QEMU 7.2 and 10.0).
The modules that create and keep images open and check these themselves.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._access.file_kind import not_raw
from ansible_collections.directdisk.qemu.plugins.module_utils._access.foreign_files import why_undeclared
from ansible_collections.directdisk.qemu.plugins.module_utils._access.image_header import read_header
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.vm import Vm
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.vm_disks import name_of
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.changes import Changes, DiskOfVm
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.disk_requests import DiskToRead
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.host_state import ObservedHost
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.plan import Plan
from ansible_collections.directdisk.qemu.plugins.module_utils._units import paths as unit_paths
from ansible_collections.directdisk.qemu.plugins.module_utils._units.node_names import disk_node


def paths_of_heads(vms: Iterable[Vm]) -> list[str]:
    """Return the files and devices whose first bytes the host reports, for VMs that are not absent."""
    return sorted({path for vm in vms for disk in vm.disks if not disk.kept for path in _places(disk)})


def read_over_network(vms: Iterable[Vm], declared: Mapping[str, Any]) -> list[DiskToRead]:
    """Return the disks on other storage; declared: the declaration from which the VMs were read."""
    return [
        {
            "name": name_of(vm.name, disk.name),
            "node": disk_node(disk.name, "storage"),
            "before_start": _may_be_raw(disk),
            "unit": unit_paths.unit_name(vm.name),
            "identity": disk.identity,
            "declared": declared[vm.name]["disks"][disk.name],
        }
        for vm in vms
        if vm.state == "started"
        for disk in vm.disks
        if not disk.kept and not _places(disk)
    ]


def other_images(plans: Iterable[Plan], changes: Changes, observed: ObservedHost) -> dict[str, list[str]]:
    """Return why VMs must not open disks, by name: their content is not the declared image."""
    refused: dict[str, list[str]] = {}
    given = _all_given(changes)
    for vm, disk in _about_to_be_opened(plans, changes):
        for key in _places(disk) or (name_of(vm.name, disk.name),):
            head = bytes.fromhex(observed["heads"].get(key, ""))
            problem = _why_not_raw(disk, head) or ((vm.name, disk.name) in given and _names_others(disk, head))
            if problem:
                line = f"disk {disk.name} of {vm.name}: {disk.described}: {problem}"
                refused.setdefault(vm.name, []).append(line)
    return refused


def without_answer(plans: Iterable[Plan], changes: Changes, observed: ObservedHost) -> dict[str, list[str]]:
    """Return why running VMs must not be given disks, by name: their storage does not answer."""
    refused: dict[str, list[str]] = {}
    for vm, disk in ((plan.vm, disk) for plan in plans for disk in plan.vm.disks):
        problem = observed["not_read"].get(name_of(vm.name, disk.name))
        done = next((verb for verb, disks in _given(changes).items() if (vm.name, disk.name) in disks), "")
        if problem and done:
            refused.setdefault(vm.name, []).append(
                f"disk {disk.name} of {vm.name}: it is not {done}, because it cannot be opened now, and the running "
                f"VM would halt until it is ({problem}); the VM is left as it is"
            )
    return refused


def not_read(plans: Iterable[Plan], changes: Changes, observed: ObservedHost, host: str) -> list[str]:
    """Return warnings about raw disks that could not be read before their VMs start."""
    disks = [pair for pair in _about_to_be_opened(plans, changes) if _is_opened_raw(pair[1])]
    reasons = ((name_of(vm.name, disk.name), observed["not_read"]) for vm, disk in disks)
    return [
        f"{host}: disk {name}: it is declared raw, and its first bytes could not be read to check that ({unread[name]})"
        for name, unread in reasons
        if name in unread
    ]


def _about_to_be_opened(plans: Iterable[Plan], changes: Changes) -> Iterator[tuple[Vm, Disk]]:
    """Yield the disks that are about to be opened only, of VMs that start and of those that run."""
    names = {*changes.start, *changes.restart}
    given = _all_given(changes)
    return (
        (plan.vm, disk)
        for plan in plans
        for disk in plan.vm.disks
        if not disk.kept and (plan.vm.name in names or (plan.vm.name, disk.name) in given)
    )


def _given(changes: Changes) -> dict[str, list[DiskOfVm]]:
    """Return the disks that running VMs are given, by what is done with them."""
    return {"attached": changes.attach, "inserted": changes.insert}


def _all_given(changes: Changes) -> set[DiskOfVm]:
    return {disk for disks in _given(changes).values() for disk in disks}


_QCOW2 = b"QFI\xfb"
"""The first bytes of a qcow2, which are refused wherever others are."""


def _is_opened_raw(disk: Disk) -> bool:
    return not disk.kept and disk.settings["format"] == "raw"


def _may_be_raw(disk: Disk) -> bool:
    """Return if an image of another format is refused there."""
    return _is_opened_raw(disk) and bool(_why_not_raw(disk, _QCOW2))


def _names_others(disk: Disk, head: bytes) -> str:
    """Return why a qcow2 that is opened without other files must not be given to a guest; empty if it may be."""
    return why_undeclared(read_header(head if disk.settings["format"] == "qcow2" else b""))


def _why_not_raw(disk: Disk, head: bytes) -> str:
    source = disk.backend.source
    writable = source.writable and not source.why_read_only(disk.source)
    return not_raw(disk.settings, head, written_by_guests=writable)


def _places(disk: Disk) -> tuple[str, ...]:
    """Return the files or devices of the host whose bytes are those of a disk; not a packed file."""
    if disk.backend.source.why_read_only(disk.source):
        return ()
    reach = disk.backend.access.reach(disk.source)
    return (*reach.files, *reach.devices)
