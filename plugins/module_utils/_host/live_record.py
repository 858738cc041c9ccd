# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The record of disks and networks that running VMs were given, or have given back, since they were started.

The command line of a process tells what it was started with. Each entry has systemd's invocation ID of that start, and
is valid for it only.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from typing import TypedDict

from ansible_collections.directdisk.qemu.plugins.module_utils._host import files as host_files
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.host_state import UnitState
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.live_state import LiveDisk, LiveNetwork

FOLDER = "/run/qemu-vms.live"
"""Folder of the records, one for each launch unit: one of all would be written whole at each change of each VM.

Only root may enter it, and a reboot removes it together with the processes.
"""


class Entry(TypedDict):
    """The changes of one start of a unit."""

    invocation: str
    disks: dict[str, LiveDisk | None]
    """A disk that was attached; None for one that was detached."""
    networks: dict[str, LiveNetwork | None]
    """A network that was plugged or changed; None for one that was unplugged."""


def path_of(unit: str) -> str:
    """Return the path of the record of a launch unit."""
    return f"{FOLDER}/{unit}.json"


def read(states: Mapping[str, UnitState]) -> dict[str, Entry]:
    """Return what has changed in running VMs, by launch unit."""
    entries: dict[str, Entry] = {}
    with contextlib.suppress(FileNotFoundError):
        for unit in (name.removesuffix(".json") for name in os.listdir(FOLDER)):
            entry = _current(unit, states) if unit in states else None
            if entry:
                entries[unit] = entry
    return entries


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
    """Yield the entry of a unit, and write it with what has changed in it; one thread changes a VM."""
    empty: Entry = {"invocation": states[unit]["invocation"], "disks": {}, "networks": {}}
    entry = _current(unit, states) or empty
    yield entry
    os.makedirs(FOLDER, mode=0o700, exist_ok=True)
    host_files.write_atomically(path_of(unit), json.dumps(entry) + "\n", mode=0o600)


def _current(unit: str, states: Mapping[str, UnitState]) -> Entry | None:
    text = host_files.read_text(path_of(unit))
    entry: Entry | None = json.loads(text) if text else None
    return entry if entry and entry["invocation"] == states[unit]["invocation"] else None
