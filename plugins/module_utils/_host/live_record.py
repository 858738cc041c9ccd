# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The record of disks that were attached to running VMs, or detached, since they were started.

The command line of a process tells what it was started with. Each entry has systemd's invocation ID of that start, and
is valid for it only.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from typing import TypedDict

from ansible_collections.directdisk.qemu.plugins.module_utils._host import files as host_files
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.host_state import LiveDisk, UnitState

RECORD = "/run/qemu-vms.live.json"
"""Only root creates files there, and a reboot removes it together with the processes."""


_WRITING = threading.Lock()
"""Disks of several VMs are changed side by side."""


class Entry(TypedDict):
    """The disks of one start of a unit."""

    invocation: str
    disks: dict[str, LiveDisk | None]
    """A disk that was attached; None for one that was detached."""


def read(states: Mapping[str, UnitState]) -> dict[str, dict[str, LiveDisk | None]]:
    """Return what has changed in running VMs, by launch unit."""
    return {unit: entry["disks"] for unit, entry in _current(states).items()}


def remember(unit: str, states: Mapping[str, UnitState], disk: str, now: LiveDisk | None) -> None:
    """Record a disk before it is attached, or once it is detached."""
    with _WRITING:
        entries = _current(states)
        entry = entries.setdefault(unit, {"invocation": states[unit]["invocation"], "disks": {}})
        entry["disks"][disk] = now
        host_files.write_atomically(RECORD, json.dumps(entries) + "\n", mode=0o600)


def _current(states: Mapping[str, UnitState]) -> dict[str, Entry]:
    text = host_files.read_text(RECORD)
    entries: dict[str, Entry] = json.loads(text) if text else {}
    return {
        unit: entry
        for unit, entry in entries.items()
        if unit in states and states[unit]["invocation"] == entry["invocation"]
    }
