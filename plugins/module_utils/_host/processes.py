# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The QEMU processes of running VMs: what they were started with, and what their monitors tell. Read-only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from ansible_collections.directdisk.qemu.plugins.module_utils._clients.qmp import OTHER_ANSWER, Monitor
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import QmpError
from ansible_collections.directdisk.qemu.plugins.module_utils._host import (
    block_graph,
    live_media,
    live_record,
    live_sizes,
    taps,
    undeclared,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._host.process_folders import LONGEST_COMMAND
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.host_state import UnitState
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.live_options import known_limits
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.live_state import ObservedProcess
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.running_parts import properties_of
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.sizes import sizes_of
from ansible_collections.directdisk.qemu.plugins.module_utils._programs import unit_record
from ansible_collections.directdisk.qemu.plugins.module_utils._units import paths

_SECONDS = 5.0
_WORKERS = 16


def running_processes(vms: Sequence[str], states: Mapping[str, UnitState]) -> dict[str, ObservedProcess]:
    """Return the processes of the VMs that run, by VM."""
    running = [vm for vm in vms if states[paths.unit_name(vm)]["active"] == "active"]
    recorded = live_record.read(states) if running else {}
    with ThreadPoolExecutor(_WORKERS) as pool:
        observed = pool.map(lambda vm: _process(vm, states[paths.unit_name(vm)], recorded), running)
        return {vm: process for vm, process in zip(running, observed) if process["argv"]}


def _process(vm: str, state: UnitState, recorded: Mapping[str, live_record.Entry]) -> ObservedProcess:
    """Return the process of a VM; recorded: what has changed since its start, by launch unit."""
    unit = paths.unit_name(vm)
    process: ObservedProcess = {
        "argv": _argv(state["pid"]),
        "disks": recorded[unit]["disks"] if unit in recorded else {},
        "networks": recorded[unit]["networks"] if unit in recorded else {},
        "links_down": unit_record.links_down(unit, state["invocation"]),
        "bridges": {},
        "devices": [],
        "nodes": [],
        "media": {},
        "undeclared": [],
        "unused_nodes": [],
        "jobs": [],
        "limits": {},
        "sizes": {"cpus": 0, "memory": 0, "requested": 0},
        "release": [],
        "status": "",
        "error": "",
    }
    process["bridges"] = {name: taps.bridge_of(tap) for name, tap in taps_of(process).items()}
    try:
        with Monitor.connect(paths.qmp_socket(vm), seconds=_SECONDS) as monitor:
            process["status"] = str(monitor.execute("query-status").get("status", ""))
            listed = monitor.execute("qom-list", {"path": "/machine/peripheral"})
            process["nodes"] = block_graph.node_names(monitor)
            process["release"] = list(monitor.release)
            process["limits"] = _limits(monitor)
            drives = monitor.execute("query-blockstats")
            process["media"] = live_media.media(drives)
            process["sizes"] = live_sizes.observe(monitor, sizes_of(process["argv"]))
            process["devices"] = [str(one.get("name")) for one in listed if str(one.get("type")).startswith("child<")]
            added = undeclared.observe(monitor, process, listed, drives)
            process["undeclared"], process["unused_nodes"] = added["undeclared"], added["unused_nodes"]
            process["jobs"] = added["jobs"]
    except QmpError as error:
        process["error"] = str(error)
    except OTHER_ANSWER:
        # A QEMU that its guest has taken over also writes the command line that /proc shows.
        process["error"] = "its command line or its monitor is not as QEMU has it"
    return process


def _limits(monitor: Monitor) -> dict[str, dict[str, int]]:
    """Return the limits of all throttle groups."""
    groups = [
        str(one["name"])
        for one in monitor.execute("qom-list", {"path": "/objects"})
        if one["type"] == "child<throttle-group>"
    ]
    arguments = [{"path": f"/objects/{group}", "property": "limits"} for group in groups]
    return {group: known_limits(monitor.execute("qom-get", one)) for group, one in zip(groups, arguments)}


def taps_of(process: ObservedProcess) -> dict[str, str]:
    """Return the tap devices of a process by network: those of its start, and those that it was given since."""
    argv = process["argv"]
    started = [value for option, value in zip(argv, argv[1:]) if option == "-netdev" and value.startswith("tap,")]
    options = [properties_of(value) for value in started]
    since = {name: one["tap"] for name, one in process["networks"].items() if one and one["tap"]}
    return {**{one.get("id", ""): one.get("ifname", "") for one in options}, **since}


def taps_in_use(processes: Mapping[str, ObservedProcess]) -> dict[str, list[str]]:
    """Return the tap devices of processes, by VM."""
    return {vm: list(taps_of(process).values()) for vm, process in processes.items()}


def _argv(pid: int) -> list[str]:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return [word.decode(errors="replace") for word in file.read(LONGEST_COMMAND).split(b"\0")[:-1]]
    except OSError:
        return []  # it has ended meanwhile
