# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The VMs that run on a host, those of the collection and all others, and the storage that each has open. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TypedDict

from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.identities import (
    Resolved,
    Spellings,
    identities,
    identities_of,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.vm import Vm, uuid_of
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError
from ansible_collections.directdisk.qemu.plugins.module_utils._options.read import raise_collected
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.host_state import ObservedHost, UnmanagedProcess
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.vm_states import STOPPED
from ansible_collections.directdisk.qemu.plugins.module_utils._units import paths
from ansible_collections.directdisk.qemu.plugins.plugin_utils._inventory.declared import as_declared


class StorageUse(TypedDict):
    """Storage that a VM has open, or will open."""

    identity: str
    alike: list[str]
    """Further identities that the same bytes may have."""
    resolved: list[str]
    """Further identities that the same bytes have, as the host resolves the names in the declaration."""
    writes: bool
    shared: bool
    """If the same identity on another host is the same storage."""


class RunningVm(TypedDict):
    """A VM that runs on a host, or that its host starts at the next boot although it does not declare it."""

    name: str
    uuid: str
    declared: bool
    """If its host declares it started."""
    runs: bool
    """If it runs now."""
    process: str
    """Process and unit of a VM that the collection does not manage; empty for other VMs."""
    storage: list[StorageUse]


def resolved_in(observed: ObservedHost) -> Resolved:
    """Return the names in declarations as the host has resolved them."""
    names: Resolved = observed.get("names") or {}
    return names


def storage_use(disk: Disk, names: Resolved) -> StorageUse:
    """Return the storage that a disk uses; names: as the disk's host has resolved them."""
    alike = sorted({*disk.backend.source.other_identities(disk.source)} - {disk.identity})
    return {
        "identity": disk.identity,
        "alike": alike,
        "resolved": sorted(identities(disk, names).certain - {disk.identity}),
        "writes": disk.writes == "keep",
        "shared": not disk.backend.source.local(disk.source),
    }


def names_of(use: StorageUse) -> tuple[str, ...]:
    """Return all identities that the same bytes may have."""
    return use["identity"], *use["alike"], *use["resolved"]


def running_vms(vms: Iterable[Vm], observed: ObservedHost) -> list[RunningVm]:
    """Return the VMs that run on a host; vms: those that it declares."""
    declared = {vm.name: vm for vm in vms}
    names = resolved_in(observed)
    return [*_with_units(declared, observed), *(_unmanaged(process, names) for process in _vms(observed))]


def _with_units(declared: Mapping[str, Vm], observed: ObservedHost) -> Iterator[RunningVm]:
    names = resolved_in(observed)
    for unit, state in observed["units"].items():
        name = paths.vm_of_unit(unit)
        vm, runs = declared.get(name), state["active"] not in STOPPED
        if not name or unit != paths.unit_name(name) or not (runs or (state["enabled"] and vm is None)):
            continue
        uses = {disk.identity: storage_use(disk, names) for disk in vm.disks} if vm else {}
        file = observed["files"].get(f"{paths.UNIT_DIRECTORY}/{unit}")
        opened = file["opened"] if file else {}
        spelled = file["spellings"] if file else {}
        yield {
            "name": name,
            "uuid": (file["uuid"] if file else "") or uuid_of(name),
            "declared": vm is not None and vm.state == "started",
            "runs": runs,
            "process": "",
            "storage": [
                {**(uses.get(identity) or _opened(identity, spelled.get(identity), names)), "writes": writes}
                for identity, writes in opened.items()
            ],
        }


def _opened(identity: str, known: Spellings | None, names: Resolved) -> StorageUse:
    """Return storage that a unit's VM opens, and that is not declared for it; known: other names of it."""
    found = identities_of(identity, known, names)
    alike, resolved = sorted(found.possible), sorted(found.certain - {identity})
    return {"identity": identity, "alike": alike, "resolved": resolved, "writes": True, "shared": False}


def _vms(observed: ObservedHost) -> Iterator[UnmanagedProcess]:
    return (process for process in observed.get("unmanaged") or () if process["vm"])


def _unmanaged(process: UnmanagedProcess, names: Resolved) -> RunningVm:
    return {
        "name": process["name"],
        "uuid": process["uuid"],
        "declared": False,
        "runs": True,
        "process": described_process(process),
        "storage": [storage_use(disk, names) for disk in _disks(process)],
    }


def described_process(process: UnmanagedProcess) -> str:
    """Describe a process in messages."""
    return f"process {process['pid']}{', ' if process['unit'] else ''}{process['unit']}"


def _disks(process: UnmanagedProcess) -> list[Disk]:
    return [disk for one in as_declared("", "vm", {"disks": process["disks"]}) for disk in one.vm.disks]


def refuse_unmanaged_storage(vms: Iterable[Vm], observed: ObservedHost) -> None:
    """Refuse to start a VM on storage that an unmanaged QEMU process has open on the same host."""
    errors: list[Exception] = []
    names = resolved_in(observed)
    starting = [vm for vm in vms if vm.state == "started"]
    for process in observed.get("unmanaged") or ():
        uses = [storage_use(disk, names) for disk in _disks(process)]
        for vm in starting:
            errors += [
                DeclarationError(
                    f"disk {disk.name} of {vm.name}",
                    f"{process['name']}, which runs without the collection ({described_process(process)}), has the "
                    f"same storage open, and one of them writes to it ({disk.described}); stop that process first",
                )
                for disk in vm.disks
                if _is_open(disk, storage_use(disk, names), uses, process["opens"])
            ]
    raise_collected(errors)


def _is_open(disk: Disk, declared: StorageUse, uses: Iterable[StorageUse], opens: Mapping[str, bool]) -> bool:
    """Return if the storage of a disk is open, and either side writes to it."""
    reach = disk.backend.access.reach(disk.source)
    writers = [use["writes"] for use in uses if same_storage(declared, use)]
    writers += [opens[path] for path in (*reach.files, *reach.devices) if path in opens]
    return any(writes or declared["writes"] for writes in writers)


def same_storage(one: StorageUse, other: StorageUse) -> bool:
    """Return if two uses are, or may be, of the same bytes."""
    certain, others = ({use["identity"], *use["resolved"]} for use in (one, other))
    return bool(certain & (others | {*other["alike"]}) or others & {*one["alike"]})
