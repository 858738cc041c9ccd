# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The running VMs of this host that have a disk's storage open, under its name or another one."""

from __future__ import annotations

import functools
import glob
import os
from collections.abc import Mapping

from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.identities import (
    Identities,
    Spellings,
    identities,
    identities_of,
    names_in,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._host import files, former_storage, systemd
from ansible_collections.directdisk.qemu.plugins.module_utils._host.names import resolve
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.host_state import UnitState
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.vm_states import STOPPED
from ansible_collections.directdisk.qemu.plugins.module_utils._units import paths
from ansible_collections.directdisk.qemu.plugins.module_utils._units.unit_text import opened_in, spellings_in


def vms_that_open(disk: Disk, users: StorageUsers | None = None) -> list[str]:
    """Return the VMs that have a disk open; users: those of an observation, instead of what is so now."""
    return sorted((users or StorageUsers()).of(disk))


def vms_that_write(disk: Disk) -> list[str]:
    """Return the VMs that write to a disk now."""
    return sorted(name for name, writes in StorageUsers().of(disk).items() if writes)


def vm_units() -> list[str]:
    """Return the paths of the launch units of this host, and of their helpers."""
    return glob.glob(paths.units_of_vms())


class StorageUsers:
    """The storage that the VMs of this host have open, as their units and systemd say at one moment."""

    def __init__(self, states: Mapping[str, UnitState] | None = None) -> None:
        """states: those of all units that are known; systemd is asked for others."""
        texts = {os.path.basename(path): files.read_text(path) for path in vm_units()}
        self._states = dict(states or {})
        self._opened = {unit: opened_in(text) for unit, text in texts.items()}
        self._former = former_storage.read()
        listed = {unit: spellings_in(text) for unit, text in texts.items()}
        self._spellings = former_storage.with_former(listed, self._former)
        servers = {name for known in self._spellings.values() for one in known.values() for name in one["names"]}
        self._resolved = _resolved(frozenset(servers))
        self._identities: dict[tuple[str, str], Identities] = {}

    def of(self, disk: Disk) -> dict[str, bool]:
        """Return the running VMs that have a disk open, and if they write to it."""
        own = identities(disk, {**self._resolved, **_resolved(frozenset(names_in(disk)))})
        asked = sorted(
            {unit for text in {*own.certain, *own.possible} for unit in self._units_by_identity.get(text, ())}
        )
        states = self._states_of(asked)
        now = former_storage.opened_now({unit: self._opened[unit] for unit in asked}, states, self._former)
        users = {}
        for unit in asked:
            same = [writes for identity, writes in now[unit].items() if own.same(self._identities_of(unit, identity))]
            if same and states[unit]["active"] not in STOPPED:
                users[paths.vm_of_unit(unit)] = any(same)
        return users

    @functools.cached_property
    def _units_by_identity(self) -> dict[str, set[str]]:
        """The units by each identity of what they may have open, so that a disk is not compared with all of them."""
        units: dict[str, set[str]] = {}
        for unit, identity in former_storage.ever_opened(self._opened, self._former):
            known = self._identities_of(unit, identity)
            for text in (*known.certain, *known.possible):
                units.setdefault(text, set()).add(unit)
        return units

    def _identities_of(self, unit: str, identity: str) -> Identities:
        key = unit, identity
        if key not in self._identities:
            known: Spellings | None = self._spellings[unit].get(identity)
            self._identities[key] = identities_of(identity, known, self._resolved)
        return self._identities[key]

    def _states_of(self, units: list[str]) -> dict[str, UnitState]:
        unknown = [unit for unit in units if unit not in self._states]
        if unknown:
            self._states.update(systemd.show(unknown))
        return {unit: self._states[unit] for unit in units}


@functools.cache
def _resolved(names: frozenset[str]) -> dict[str, list[str]]:
    """Resolve names once in a run: a resolver that does not answer must not delay each disk."""
    return resolve(names)
