# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the machines of a host are doing, from systemd, their QMP sockets and their consoles. Read-only."""

from __future__ import annotations

import glob
import json
import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils import _agent, _files, _paths, _systemd
from ansible_collections.directdisk.qemu.plugins.module_utils._clients.qmp import Monitor
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import QmpError

CONSOLE_TAIL = 4096
_CREDENTIAL = re.compile(r"^LoadCredential(?:Encrypted)?=[^:]+:(.+)$", re.M)


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
        "opened": opened_by(_files.read_text(f"{_paths.UNIT_DIRECTORY}/{_paths.unit_name(name)}")),
        "restart_needed": False,
        "disks": {},
        "console": _last_line(_paths.console_log(name)),
    }
    if state["active"] != "active":
        return found
    found["restart_needed"] = is_stale(name)
    try:
        with Monitor.connect(_paths.qmp_socket(name)) as monitor:
            found["status"] = monitor.execute("query-status")["status"]
            counters = {one.get("node-name"): one["stats"] for one in monitor.execute("query-blockstats")}
            disks = (_disk(block, counters) for block in monitor.execute("query-block"))
            found["disks"] = {disk: facts for disk, facts in disks if disk}
    except QmpError as error:
        found["error"] = str(error)
    return found


def is_stale(name: str) -> bool:
    """Whether what a machine was started from has changed since."""
    try:
        started = os.path.getmtime(_paths.qmp_socket(name))
        return any(os.path.getmtime(path) > started for path in _started_from(name))
    except OSError:
        return False  # it is being removed


def _started_from(name: str) -> Iterator[str]:
    """Units and credentials, but for those of the ssh keys, which change while the machine runs."""
    launch = f"{_paths.UNIT_DIRECTORY}/{_paths.unit_name(name)}"
    for path in (launch, *glob.glob(f"{_paths.UNIT_DIRECTORY}/{_paths.owner_name(name)}.*.*.service")):
        if os.path.basename(path) != _agent.keys_unit_name(name):
            yield path
            loaded = _CREDENTIAL.findall(_files.read_text(path))
            yield from (credential for credential in loaded if credential.startswith(_paths.CREDENTIALS))


def _disk(block: dict[str, Any], counters: dict[Any, dict[str, int]]) -> tuple[str, dict[str, Any]]:
    """One device of query-block: the disk's name and its facts."""
    inserted = block.get("inserted", {})
    node = inserted.get("node-name", "")
    facts = {
        "node": node,
        "size": inserted.get("image", {}).get("virtual-size", 0),
        "read_only": inserted.get("ro", False),
        "io_status": block.get("io-status", "ok"),
        "io": _io(counters.get(node, {})),
    }
    disk = node.partition(".")[0]
    return "" if disk == "machine" else disk, facts


def _io(stats: dict[str, int]) -> dict[str, int]:
    """What a guest has read and written since its machine was started, and how often that failed."""
    return {
        "reads": stats.get("rd_operations", 0),
        "read_bytes": stats.get("rd_bytes", 0),
        "writes": stats.get("wr_operations", 0),
        "written_bytes": stats.get("wr_bytes", 0),
        "errors": sum(stats.get(f"failed_{kind}_operations", 0) for kind in ("rd", "wr", "flush")),
    }


def _last_line(path: str) -> str:
    """The last line that is not empty of a console's log."""
    try:
        with open(path, "rb") as stream:
            stream.seek(max(os.path.getsize(path) - CONSOLE_TAIL, 0))
            lines = stream.read().decode(errors="replace").split("\n")
    except OSError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
