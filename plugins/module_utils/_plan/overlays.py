# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Overlays: their paths, and the persistent ones that a change of the declaration would abandon. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.identities import (
    Resolved,
    identities,
    identities_of,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.vm import Vm
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError
from ansible_collections.directdisk.qemu.plugins.module_utils._options.read import raise_collected
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.host_state import ObservedFile
from ansible_collections.directdisk.qemu.plugins.module_utils._units import paths

_NAME = re.compile(r"^([A-Za-z][A-Za-z0-9_-]{0,15})-([0-9a-f]{8})\.qcow2$")


@dataclass(frozen=True)
class Overlay:
    """The file with a guest's writes over one image."""

    disk: str
    """Name of the disk."""
    base: str
    """Identifies the storage below it. Writes over one image must never be put over another image."""

    @property
    def file(self) -> str:
        return f"{self.disk}-{self.base}.qcow2"

    def path(self, vm: str) -> str:
        return f"{paths.state_directory(vm)}/{self.file}"


def overlay_of(disk: Disk, name: str = "") -> Overlay:
    """Return the overlay of a disk; name: a former name of the disk."""
    return Overlay(name or disk.name, _base(disk.identity))


def _base(identity: str) -> str:
    return hashlib.sha256(identity.encode()).hexdigest()[:8]


def discarded_path(vm: str, disk: str) -> str:
    """Return the path of the overlay of a disk whose writes are discarded."""
    return f"{paths.cache_directory(vm)}/{disk}.qcow2"


def read_names(names: Iterable[str]) -> list[Overlay]:
    """Return the overlays among the files of a VM's state directory."""
    return [Overlay(*match.groups()) for match in map(_NAME.match, sorted(names)) if match]


def refuse_left_behind(
    vms: Iterable[Vm],
    observed: Mapping[str, Sequence[str]],
    units: Mapping[str, ObservedFile] | None = None,
    resolved: Resolved | None = None,
) -> None:
    """Refuse a disk that would begin with an empty overlay because it, or its storage, has another name now.

    observed: files by VM; units: the launch units, by path; resolved: names that the host has resolved.
    """
    errors: list[Exception] = []
    for vm in vms:
        existing = read_names(observed.get(vm.name, ()))
        unit = (units or {}).get(f"{paths.UNIT_DIRECTORY}/{paths.unit_name(vm.name)}")
        for disk in _layered(vm) if existing else ():
            problem = _left_behind(vm, disk, existing) or _respelled(vm, disk, existing, unit, resolved or {})
            if problem:
                errors.append(DeclarationError(f"disk {disk.name} of {vm.name}", problem))
    raise_collected(errors)


def _layered(vm: Vm) -> list[Disk]:
    return [disk for disk in vm.disks if disk.writes == "overlay"] if vm.state != "absent" else []


def _left_behind(vm: Vm, disk: Disk, existing: Collection[Overlay]) -> str:
    """Describe the overlay that would be abandoned, and what to do; empty if there is none."""
    current, former = overlay_of(disk), disk.settings.get("renamed_from", "")
    if former:
        old = overlay_of(disk, former)
        if current in existing and old in existing:
            both = f"{old.path(vm.name)} and {current.path(vm.name)}"
            return f"renamed_from: {former}: both overlays exist, {both}; remove the one that is not needed"
        if current in existing or old in existing:
            return ""
    if current in existing:
        return ""
    used = [overlay_of(other) for other in _layered(vm)]
    orphans = [other for other in existing if other.base == current.base and other not in used]
    if not orphans:
        return ""
    orphan = orphans[0]
    return (
        f"would begin with an empty overlay: that of disk {orphan.disk}, which is no longer declared, is over "
        f"the same storage; set renamed_from: {orphan.disk} to use it, or "
        f"remove {orphan.path(vm.name)} to begin with an empty one"
    )


def _respelled(vm: Vm, disk: Disk, existing: Collection[Overlay], unit: ObservedFile | None, resolved: Resolved) -> str:
    """Describe the overlay that a VM's unit has over the same storage under another name; empty if there is none."""
    current, own = overlay_of(disk), identities(disk, resolved)
    names = {disk.name, disk.settings.get("renamed_from", disk.name)}
    if unit is None or current in existing:
        return ""
    for identity in (one for one in unit["opened"] if one != disk.identity):  # renamed disks are _left_behind's
        if own.same(identities_of(identity, unit["spellings"].get(identity), resolved)):
            old = next((one for one in existing if one.disk in names and one.base == _base(identity)), None)
            if old:
                return (
                    f"would begin with an empty overlay: {old.path(vm.name)} is over the same storage, which was "
                    f"declared as {identity}; declare it so again, or rename that file to {current.file} while the VM "
                    "is stopped"
                )
    return ""


def warnings(vms: Iterable[Vm], observed: Mapping[str, Sequence[str]], changed: Collection[str]) -> Iterator[str]:
    """Yield warnings about overlays that are no longer used; changed: VMs whose unit is rewritten."""
    for vm in vms:
        existing = read_names(observed.get(vm.name, ()))
        layered = {disk.name: overlay_of(disk) for disk in _layered(vm)}
        former = {disk.settings.get("renamed_from") for disk in _layered(vm)}
        for overlay in existing if vm.name in changed and vm.state != "absent" else ():
            now = layered.get(overlay.disk)
            if overlay == now or overlay.disk in former:
                continue
            kept = f"the guest's writes are kept in {overlay.path(vm.name)}"
            if now and now not in existing:
                yield f"disk {overlay.disk} of {vm.name}: begins with an empty overlay on its new storage; {kept}"
            elif not now:
                yield f"vm {vm.name}: no disk uses the overlay of disk {overlay.disk} any more; {kept}"
