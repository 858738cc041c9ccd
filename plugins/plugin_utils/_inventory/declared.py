# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The declared VMs of an inventory, and every error in their declarations."""

from __future__ import annotations

import copyreg
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypedDict

from ansible.parsing.dataloader import DataLoader

from ansible_collections.directdisk.qemu.plugins.module_utils._backends.contract import Backend
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.registry import BACKENDS
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.read_vm import read_vm
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.vm import Vm
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import Collected, DeclarationError
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.kinds import read_desired
from ansible_collections.directdisk.qemu.plugins.module_utils._options.read import raise_collected
from ansible_collections.directdisk.qemu.plugins.plugin_utils._inventory.parallel import map_parts
from ansible_collections.directdisk.qemu.plugins.plugin_utils._inventory.placeholders import Filled
from ansible_collections.directdisk.qemu.plugins.plugin_utils._inventory.variables import (
    VARIABLE,
    Unresolved,
    declarations,
    evaluated,
)


class Row(TypedDict):
    """One declared disk as plain data, without a secret."""

    host: str
    vm: str
    disk: str
    state: str
    """The declared state of its VM."""
    backend: str
    storage: str
    """A description, such as ``vms/web1``."""
    pool: str
    identity: str
    """Equal for the same bytes in the whole inventory."""
    route: str
    format: str
    size: int | None
    """Bytes; None if it is not declared."""
    writes: str
    source: str | None
    """A description of what a new image is a copy of."""
    servers: list[str]
    secrets_missing: list[str]


@dataclass(frozen=True)
class DeclaredVm:
    """One VM of one host."""

    host: str
    vm: Vm
    missing: Mapping[str, Sequence[str]]
    """Secrets that are missing, by disk."""

    @property
    def present(self) -> bool:
        return self.vm.state != "absent"

    def identity(self, disk: Disk) -> str:
        """Return an identity of a disk that is equal for the same bytes in the whole inventory."""
        return self._globally(disk, disk.identity)

    def alike(self, disk: Disk) -> set[str]:
        """Return further identities that the same bytes may have."""
        return {self._globally(disk, identity) for identity in disk.backend.source.other_identities(disk.source)}

    def _globally(self, disk: Disk, identity: str) -> str:
        return f"{self.host}:{identity}" if disk.backend.source.local(disk.source) else identity

    def where(self, kind: str, name: str) -> str:
        """Return a disk or network of the VM, as errors name it."""
        return f"{self.host}: {kind} {name} of {self.vm.name}"


@dataclass(frozen=True)
class DeclaredFleet:
    """The declarations of an inventory."""

    hosts: list[str] = field(default_factory=list)
    """The hosts that declare VMs."""
    vms: list[DeclaredVm] = field(default_factory=list)
    errors: list[DeclarationError] = field(default_factory=list)
    secrets: list[DeclarationError] = field(default_factory=list)
    """Errors about missing secrets; their VMs are in ``vms`` nevertheless."""
    unread: list[tuple[str, str]] = field(default_factory=list)
    """Host and name of each VM that, because of errors, is not in ``vms`` or lacks a disk there; an empty name means
    all VMs of the host."""

    def disks(self) -> Iterator[tuple[DeclaredVm, Disk]]:
        """Return the disks of all VMs that are not absent."""
        return ((one, disk) for one in self.vms if one.present for disk in one.vm.disks)

    def in_order(self, errors: Iterable[DeclarationError]) -> list[DeclarationError]:
        """Return the errors host by host."""
        places = {host: place for place, host in enumerate(self.hosts)}
        return sorted(errors, key=lambda error: places[host_of(error)])

    def rows(self) -> list[Row]:
        return [row(one, disk) for one in self.vms for disk in one.vm.disks]


def host_of(error: DeclarationError) -> str:
    """Return the host of an error of a fleet."""
    return error.where.partition(": ")[0]


def read_fleet(hostvars: Mapping[str, Any], hosts: Iterable[str] | None = None) -> DeclaredFleet:
    """Read the declarations of all hosts, or of these."""
    fleet = DeclaredFleet()
    for host, vms in declarations(hostvars, hosts):
        fleet.hosts.append(host)
        if isinstance(vms, Unresolved):
            fleet.errors.append(DeclarationError(f"{host}: {VARIABLE}", vms.problem))
            fleet.unread.append((host, ""))
        elif not isinstance(vms, Mapping):
            fleet.errors.append(DeclarationError(host, f"{VARIABLE} is not a mapping of VM names to VMs"))
            fleet.unread.append((host, ""))
        else:
            for name, declared in vms.items():
                _read(fleet, host, name, declared)
    return fleet


def declaration_of(host: str, variables: Mapping[str, Any], loader: DataLoader) -> Any:
    """Return the evaluated declaration of one host; raise every template that fails, by VM and disk."""
    declared = evaluated(variables, loader)
    if isinstance(declared, Unresolved):
        raise DeclarationError(f"{host}: {VARIABLE}", declared.problem)
    errors: list[DeclarationError] = []
    for name, vm in declared.items() if isinstance(declared, Mapping) else ():
        filled = Filled(str(name), vm)
        errors += [error.within(host) for error in (*filled.errors, *filled.secrets)]
    raise_collected(errors)
    return declared


def as_declared(host: str, name: str, declaration: Any) -> list[DeclaredVm]:
    """Read the declaration of a VM that a host reported, as far as possible, without evaluating templates in it."""
    fleet = DeclaredFleet()
    _read(fleet, host, name, _without_templates(declaration))
    return fleet.vms


def _without_templates(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _without_templates(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_templates(inner) for inner in value]
    return Unresolved("is in no vault yet") if "{{" in str(value) else value


def read_fleet_in_parallel(hostvars: Mapping[str, Any], hosts: Sequence[str]) -> DeclaredFleet:
    """Read the declarations of many hosts in several processes, so that Ansible's caches of them do not stay."""
    fleet = DeclaredFleet()
    for part in map_parts(lambda some: read_fleet(hostvars, some), hosts):
        for whole, more in zip(vars(fleet).values(), vars(part).values()):
            whole.extend(more)
    return fleet


def _backend_named(name: str) -> Backend:
    return BACKENDS[name]


# A backend is code, and every process has it.
copyreg.pickle(Backend, lambda backend: (_backend_named, (backend.name,)))


def _read(fleet: DeclaredFleet, host: str, name: Any, declared: Any) -> None:
    filled = Filled(str(name), declared)
    errors: list[Any] = list(filled.errors)
    with _gathered(errors):
        if filled.vm is not None or declared is None:
            vm = read_vm(name, filled.vm)
            fleet.vms.append(DeclaredVm(host, vm, filled.missing))
            _check_images(vm, errors)
    if errors:
        fleet.unread.append((host, str(name)))
    fleet.errors.extend(error.within(host) for error in errors)
    fleet.secrets.extend(error.within(host) for error in filled.secrets)


def _check_images(vm: Vm, errors: list[Any]) -> None:
    """Add the errors in the options of managed images."""
    for disk in vm.disks if vm.state != "absent" else ():
        if disk.kept:
            with _gathered(errors):
                read_desired(disk, f"disk {disk.name} of {vm.name}")


@contextmanager
def _gathered(errors: list[Any]) -> Iterator[None]:
    """Add raised errors to a list."""
    try:
        yield
    except DeclarationError as error:
        errors.append(error)
    except Collected as several:
        errors += several.errors


def row(one: DeclaredVm, disk: Disk) -> Row:
    """Return one disk as plain data, without a secret."""
    backend, settings = disk.backend, disk.settings
    return {
        "host": one.host,
        "vm": one.vm.name,
        "disk": disk.name,
        "state": one.vm.state,
        "backend": backend.name,
        "storage": backend.source.describe(disk.source),
        "pool": backend.source.pool(disk.source),
        "identity": one.identity(disk),
        "route": settings["route"],
        "format": settings["format"],
        "size": settings.get("size"),
        "writes": disk.writes,
        "source": disk.origin.described if disk.origin else None,
        "servers": list(backend.access.reach(disk.source).servers),
        "secrets_missing": list(one.missing.get(disk.name, ())),
    }
