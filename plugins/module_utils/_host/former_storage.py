# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The record of storage that running VMs still have open although their units were rewritten.

A unit's text lists the storage that its VM opens at the next start. A VM that is not restarted keeps the storage of its
last start open, so a run records that before it replaces the unit. Each entry has systemd's invocation ID of that
start, and is valid for it only.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from typing import TypedDict

from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.identities import Spellings
from ansible_collections.directdisk.qemu.plugins.module_utils._host import files as host_files
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.host_state import UnitState
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.vm_states import STOPPED

RECORD = "/run/qemu-vms.opened.json"
"""Only root creates files there, and a reboot removes it together with the processes."""


Opened = Mapping[str, Mapping[str, bool]]
"""By launch unit, identities of storage, and if the VM writes to it."""
States = Mapping[str, UnitState]
"""By unit, for all units of VMs."""


class Entry(TypedDict):
    """The storage that one start of a unit has opened, by identity, and if it writes to it."""

    invocation: str
    opened: dict[str, bool]
    spellings: dict[str, Spellings]


Entries = Mapping[str, Entry]
"""The record, by launch unit."""


def opened_now(opened: Opened, states: States, entries: Entries) -> dict[str, dict[str, bool]]:
    """Return the storage of VMs by unit: as the unit lists it, and if the VM runs, as it was opened at its start."""
    entries = _current(entries, states)
    return {unit: _both(storage, _storage(entries.get(unit))) for unit, storage in opened.items()}


def opened_at_start(opened: Opened, states: States) -> dict[str, Mapping[str, bool]]:
    """Return the storage of running VMs, by unit, as it was opened at their start, whatever the unit lists now."""
    entries = _current(read(), states)
    running = (unit for unit in opened if unit in states and states[unit]["active"] not in STOPPED)
    return {unit: _storage(entries[unit]) if unit in entries else opened[unit] for unit in running}


def ever_opened(opened: Opened, entries: Entries) -> Iterator[tuple[str, str]]:
    """Yield units with the identities that opened_now() may list for them, whatever their states are."""
    for unit, storage in opened.items():
        yield from ((unit, identity) for identity in _both(storage, _storage(entries.get(unit))))


def with_former(spellings: Mapping[str, Mapping[str, Spellings]], entries: Entries) -> dict[str, dict[str, Spellings]]:
    """Return the other names of storage by unit and identity, with those of storage that a former unit listed."""
    return {unit: {**(entries[unit]["spellings"] if unit in entries else {}), **spellings[unit]} for unit in spellings}


def remember(opened: Opened, states: States, spellings: Mapping[str, Mapping[str, Spellings]]) -> None:
    """Record the open storage of VMs whose units will be replaced, and remove outdated entries.

    A VM was started from the first unit since its start; storage of later units was never opened.
    spellings: other names of it, by unit and identity.
    """
    before = read()
    entries = _current(before, states)
    for unit, storage in opened.items():
        if states[unit]["active"] not in STOPPED and unit not in entries:
            known = dict(spellings.get(unit, {}))
            entries[unit] = {"invocation": states[unit]["invocation"], "opened": dict(storage), "spellings": known}
    if entries:
        host_files.write_atomically(RECORD, json.dumps(entries) + "\n", mode=0o600)
    elif before:
        os.unlink(RECORD)


def forget(unit: str) -> None:
    """Remove the entry of a running VM that has the storage open that its unit lists, and no other."""
    entries = read()
    if entries.pop(unit, None):
        host_files.write_atomically(RECORD, json.dumps(entries) + "\n", mode=0o600)


def read() -> dict[str, Entry]:
    """Return the record."""
    text = host_files.read_text(RECORD)
    entries: dict[str, Entry] = json.loads(text) if text else {}
    return entries


def _current(entries: Mapping[str, Entry], states: States) -> dict[str, Entry]:
    """Return the entries for the current start of a running unit."""
    return {
        unit: entry
        for unit, entry in entries.items()
        if unit in states
        and states[unit]["active"] not in STOPPED
        and states[unit]["invocation"] == entry["invocation"]
    }


def _storage(entry: Entry | None) -> Mapping[str, bool]:
    return entry["opened"] if entry else {}


def _both(one: Mapping[str, bool], other: Mapping[str, bool]) -> dict[str, bool]:
    return {identity: one.get(identity, False) or other.get(identity, False) for identity in {**one, **other}}
