# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the machines of a host are doing, from systemd, their QMP sockets and their consoles. Read-only."""

from __future__ import annotations

import glob
import json
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils import _files, _paths, _systemd
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import QmpError
from ansible_collections.directdisk.qemu.plugins.module_utils._qmp import Monitor

CONSOLE_TAIL = 4096


def machines() -> dict[str, dict[str, Any]]:
    """All machines that have a unit on this host, by name."""
    names = [
        _paths.vm_of_unit(os.path.basename(path)) for path in glob.glob(f"{_paths.UNIT_DIRECTORY}/qemu-vm-*.service")
    ]
    names = sorted({name for name in names if name})
    states = _systemd.show([_paths.unit_name(name) for name in names])
    with ThreadPoolExecutor(8) as pool:
        return dict(zip(names, pool.map(lambda name: _machine(name, states[_paths.unit_name(name)]), names)))


def opened_by(unit_text: str) -> dict[str, bool]:
    """What the machine of a unit opens, and whether it writes to it, as the unit itself says."""
    line = next((line for line in unit_text.split("\n") if line.startswith(_paths.OPENED)), None)
    return dict(json.loads(line[len(_paths.OPENED) :])) if line else {}


def machines_that_open(identity: str) -> list[str]:
    """The machines on this host that run and have a storage open."""
    units = [
        os.path.basename(path)
        for path in glob.glob(f"{_paths.UNIT_DIRECTORY}/qemu-vm-*.service")
        if identity in opened_by(_files.read_text(path))
    ]
    states = _systemd.show(units)
    return sorted(_paths.vm_of_unit(unit) for unit in units if states[unit]["active"] not in ("inactive", "failed", ""))


def _machine(name: str, state: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "unit": _paths.unit_name(name),
        "active": state["active"],
        "enabled": state["enabled"],
        "status": "",
        "disks": {},
        "console": _last_line(_paths.console_log(name)),
    }
    if state["active"] != "active":
        return found
    try:
        with Monitor.connect(_paths.qmp_socket(name)) as monitor:
            found["status"] = monitor.execute("query-status")["status"]
            found["disks"] = {disk: facts for disk, facts in map(_disk, monitor.execute("query-block")) if disk}
    except QmpError as error:
        found["error"] = str(error)
    return found


def _disk(block: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """One device of query-block: the disk's name and its facts."""
    inserted = block.get("inserted", {})
    node = inserted.get("node-name", "")
    facts = {
        "node": node,
        "size": inserted.get("image", {}).get("virtual-size", 0),
        "read_only": inserted.get("ro", False),
        "io_status": block.get("io-status", "ok"),
    }
    disk = node.partition(".")[0]
    return "" if disk == "machine" else disk, facts


def _last_line(path: str) -> str:
    """The last line that is not empty of a console's log."""
    try:
        with open(path, "rb") as stream:
            stream.seek(max(os.path.getsize(path) - CONSOLE_TAIL, 0))
            lines = stream.read().decode(errors="replace").split("\n")
    except OSError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
