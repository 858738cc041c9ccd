# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Refuses storage that several VMs open and one of them writes. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.identities import (
    Identities,
    Resolved,
    identities,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.vm import Vm
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError
from ansible_collections.directdisk.qemu.plugins.module_utils._options.read import raise_collected


@dataclass(frozen=True)
class OpenStorage:
    """Storage that a VM without a declaration has open."""

    identities: Identities
    writes: bool


def refuse_shared_disks(
    vms: Iterable[Vm], others: Mapping[str, Iterable[OpenStorage]], resolved: Resolved | None = None
) -> None:
    """Refuse storage that one VM writes and another one opens: that destroys data.

    others: storage of VMs without a declaration, by their names; resolved: the names that the host resolved.
    """
    certain: dict[str, tuple[str, bool]] = {}
    possible: dict[str, tuple[str, bool]] = {}
    for name, found in others.items():
        for storage in found:
            certain.update(dict.fromkeys(storage.identities.certain, (f"a disk of {name}", storage.writes)))
            possible.update(dict.fromkeys(storage.identities.possible, (f"a disk of {name}", storage.writes)))
    errors: list[Exception] = []
    for vm in vms:
        if vm.state == "absent":
            continue
        for disk in vm.disks:
            who = f"disk {disk.name} of {vm.name}"
            own, writes = identities(disk, resolved or {}), disk.writes == "keep"
            known = [certain[one] for one in sorted(own.certain | own.possible) if one in certain]
            maybe = [possible[one] for one in sorted(own.certain) if one in possible]
            other = next((name for name, other_writes in (*known, *maybe) if writes or other_writes), "")
            if other:
                advice = f"; {disk.backend.source.if_different}" if disk.backend.source.if_different else ""
                problem = f"is the same storage as {other}, and one of them writes to it ({disk.described}){advice}"
                errors.append(DeclarationError(who, problem))
            for place, names in ((certain, own.certain), (possible, own.possible)):
                for one in names:
                    if one not in place or (writes and not place[one][1]):
                        place[one] = (who, writes)
    raise_collected(errors)


def different_downloads(disks: Iterable[tuple[str, Disk]]) -> list[DeclarationError]:
    """Return errors about read-only images of one host that are declared twice, and are to be fetched differently.

    disks: with their names in errors. Disks that share a fetched copy share the options of the download.
    """
    errors, first = [], dict[str, tuple[str, Disk]]()
    for where, disk in disks:
        if disk.backend.source.writable or not disk.backend.access.stage:
            continue
        other, its = first.setdefault(disk.identity, (where, disk))
        if disk.provision != its.provision:
            problem = (
                f"is the same image as {other} ({disk.described}), with another provision; declare the same for both"
            )
            errors.append(DeclarationError(where, problem))
    return errors
