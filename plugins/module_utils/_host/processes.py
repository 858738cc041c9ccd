# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The QEMU processes of running VMs: what they were started with, and what their monitors tell. Read-only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from ansible_collections.directdisk.qemu.plugins.module_utils._clients.qmp import Monitor
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import QmpError
from ansible_collections.directdisk.qemu.plugins.module_utils._host import live_record
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.host_state import ObservedProcess, UnitState
from ansible_collections.directdisk.qemu.plugins.module_utils._units import paths

_SECONDS = 5.0
_WORKERS = 16


def running_processes(vms: Sequence[str], states: Mapping[str, UnitState]) -> dict[str, ObservedProcess]:
    """Return the processes of the VMs that run, by VM."""
    running = [vm for vm in vms if states[paths.unit_name(vm)]["active"] == "active"]
    recorded = live_record.read(states) if running else {}
    with ThreadPoolExecutor(_WORKERS) as pool:
        observed = pool.map(lambda vm: _process(vm, states[paths.unit_name(vm)]["pid"]), running)
        return {
            vm: {**process, "disks": recorded.get(paths.unit_name(vm), {})}
            for vm, process in zip(running, observed)
            if process["argv"]
        }


def _process(vm: str, pid: int) -> ObservedProcess:
    process: ObservedProcess = {"argv": _argv(pid), "disks": {}, "devices": [], "nodes": [], "status": "", "error": ""}
    try:
        with Monitor.connect(paths.qmp_socket(vm), seconds=_SECONDS) as monitor:
            process["status"] = str(monitor.execute("query-status").get("status", ""))
            listed = monitor.execute("qom-list", {"path": "/machine/peripheral"})
            named = monitor.execute("query-named-block-nodes", {"flat": True})
            process["nodes"] = [str(one.get("node-name")) for one in named]
            process["devices"] = [str(one.get("name")) for one in listed if str(one.get("type")).startswith("child<")]
    except (QmpError, AttributeError, TypeError) as error:
        process["error"] = str(error)
    return process


def _argv(pid: int) -> list[str]:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return [word.decode(errors="replace") for word in file.read().split(b"\0")[:-1]]
    except OSError:
        return []  # it has ended meanwhile
