# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The record of disks and networks that running VMs were given, or have given back, since they were started.

The command line of a process tells what it was started with. Each entry has systemd's invocation ID of that start, and
is valid for it only.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator, Mapping
from typing import TypedDict

from ansible_collections.directdisk.qemu.plugins.module_utils._host import files as host_files
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.host_state import UnitState
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.live_state import LiveDisk, LiveNetwork

RECORD = "/run/qemu-vms.live.json"
"""Only root creates files there, and a reboot removes it together with the processes."""


_WRITING = threading.Lock()
"""Several VMs are changed side by side."""


class Entry(TypedDict):
    """The changes of one start of a unit."""

    invocation: str
    disks: dict[str, LiveDisk | None]
    """A disk that was attached; None for one that was detached."""
    networks: dict[str, LiveNetwork | None]
    """A network that was plugged or changed; None for one that was unplugged."""


def read(states: Mapping[str, UnitState]) -> dict[str, Entry]:
    """Return what has changed in running VMs, by launch unit."""
    return _current(states)


def remember(unit: str, states: Mapping[str, UnitState], disk: str, now: LiveDisk | None) -> None:
    """Record a disk before it is attached, or once it is detached."""
    with _changed(unit, states) as entry:
        entry["disks"][disk] = now


def remember_network(unit: str, states: Mapping[str, UnitState], network: str, now: LiveNetwork | None) -> None:
    """Record a network before it is plugged, or once it is unplugged or changed."""
    with _changed(unit, states) as entry:
        entry["networks"][network] = now


@contextlib.contextmanager
def _changed(unit: str, states: Mapping[str, UnitState]) -> Iterator[Entry]:
    """Yield the entry of a unit, and write the record with what has changed in it."""
    with _WRITING:
        entries = _current(states)
        empty: Entry = {"invocation": states[unit]["invocation"], "disks": {}, "networks": {}}
        entries.setdefault(unit, empty)
        yield entries[unit]
        host_files.write_atomically(RECORD, json.dumps(entries) + "\n", mode=0o600)


def _current(states: Mapping[str, UnitState]) -> dict[str, Entry]:
    text = host_files.read_text(RECORD)
    entries: dict[str, Entry] = json.loads(text) if text else {}
    return {
        unit: entry
        for unit, entry in entries.items()
        if unit in states and states[unit]["invocation"] == entry["invocation"]
    }
