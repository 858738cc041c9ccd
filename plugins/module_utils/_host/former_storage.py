# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Storage that running VMs have had open since before their units were rewritten.

A unit's text says what its VM opens at the next start. A VM that is not restarted keeps what it was started with, so a
run writes that down before it replaces the unit. Each entry names the start that it is about (systemd's invocation
ID): it counts for no other.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import TypedDict

from ansible_collections.directdisk.qemu.plugins.module_utils._host import files as host_files
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.changes import STOPPED
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.host_state import UnitState

RECORD = "/run/qemu-vms.opened.json"
"""Only root makes files there, and it is gone with the processes that it is about."""


Opened = Mapping[str, Mapping[str, bool]]
"""By launch unit, identities of storage, and if the VM writes to it."""
States = Mapping[str, UnitState]
"""Of all units of VMs."""


class Entry(TypedDict):
    """What one start of a unit has opened, by identity, and if it writes to it."""

    invocation: str
    opened: dict[str, bool]


def opened_now(opened: Opened, states: States) -> dict[str, dict[str, bool]]:
    """By unit, what its VM has open: what the unit says, and if it runs, what it has had open since it was started."""
    entries = _current(_read(), states)
    return {unit: _both(storage, _storage(entries.get(unit))) for unit, storage in opened.items()}


def units_that_may_open(identity: str, opened: Opened) -> list[str]:
    """The units of which opened_now() may name this storage, so that systemd need not be asked about the others."""
    entries = _read()
    return [unit for unit, storage in opened.items() if identity in storage or identity in _storage(entries.get(unit))]


def remember(opened: Opened, states: States) -> None:
    """Write down what VMs have open whose units are about to be replaced; entries that are out of date go.

    The first unit since the start is the one that the VM was started from; what was written later was never opened.
    """
    before = _read()
    entries = _current(before, states)
    for unit, storage in opened.items():
        if states[unit]["active"] not in STOPPED and unit not in entries:
            entries[unit] = {"invocation": states[unit]["invocation"], "opened": dict(storage)}
    if entries:
        host_files.write_atomically(RECORD, json.dumps(entries) + "\n", mode=0o600)
    elif before:
        os.unlink(RECORD)


def _read() -> dict[str, Entry]:
    text = host_files.read_text(RECORD)
    entries: dict[str, Entry] = json.loads(text) if text else {}
    return entries


def _current(entries: Mapping[str, Entry], states: States) -> dict[str, Entry]:
    """Those about the present start of a unit that runs."""
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
