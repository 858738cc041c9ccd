# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Disks and network interfaces that somebody has added to a running QEMU over its monitor: finds and removes them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypedDict

from ansible_collections.directdisk.qemu.plugins.module_utils._clients.qmp import Monitor
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import printable
from ansible_collections.directdisk.qemu.plugins.module_utils._host import block_graph, live_disks
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.live_state import ObservedProcess, UndeclaredDevice
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.undeclared import is_automatic, names_of

_WITHOUT_ID = "/machine/peripheral-anon"
_TYPE = re.compile(r"child<(.*)>")
_NUMBERED = re.compile(r"device\[(\d+)\]")
_ENDED = ("", "none", "completed", "failed", "cancelled")
"""States of a migration that does not run."""
_OTHER_DEVICES = ("-balloon", "-drive", "-usbdevice", "-virtfs", "-virtioconsole", "-watchdog")
"""Options of QEMU that make devices without an id."""


class Observed(TypedDict):
    """The members of an ObservedProcess that this file finds."""

    undeclared: list[UndeclaredDevice]
    unused_nodes: list[str]
    jobs: list[str]


def observe(
    monitor: Monitor, process: ObservedProcess, listed: Sequence[Mapping[str, Any]], drives: Sequence[Mapping[str, Any]]
) -> Observed:
    """Return what somebody has added to a VM. listed: its devices with an id; drives: answer of query-blockstats."""
    known = names_of(process)
    drivers = {name: driver for name, driver in _drivers(listed) if name not in known}
    drivers.update(_without_id(monitor, process))
    nodes = [name for name in process["nodes"] if not is_automatic(name) and name not in known]
    if not drivers and not nodes:
        return {"undeclared": [], "unused_nodes": [], "jobs": []}
    edges = block_graph.edges(monitor)
    found = [one for name in drivers for one in _device(monitor, name, drivers[name], drives)]
    for one in found:
        one["netdev"] = "" if one["netdev"] in known else one["netdev"]
        tree = [*one["nodes"], *(edge.child for edge in block_graph.below(edges, one["nodes"]))]
        one["nodes"] = [node for node in tree if node not in known and not is_automatic(node)]
    tops = [str(one.get("node-name", "")) for one in drives]
    used = {*tops, *(edge.child for edge in block_graph.below(edges, tops))}
    unused = [printable(node) for node in nodes if node not in used]
    return {"undeclared": found, "unused_nodes": unused, "jobs": _jobs(monitor) if found or unused else []}


def _drivers(listed: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """Yield the devices of a list of QEMU's objects, with their drivers."""
    for one in listed:
        match = _TYPE.fullmatch(str(one.get("type")))
        if match:
            yield str(one.get("name")), match[1]


def _without_id(monitor: Monitor, process: ObservedProcess) -> dict[str, str]:
    """Return the devices without an id that were added: QEMU numbers them, and those of its start come first."""
    argv = process["argv"]
    if any(option in argv for option in _OTHER_DEVICES):
        return {}
    devices = [value for option, value in zip(argv, argv[1:]) if option in ("-device", "--device")]
    first = sum(not re.search(r'(?:^|,)id=|"id"\s*:', value) for value in devices)
    drivers = dict(_drivers(monitor.execute("qom-list", {"path": _WITHOUT_ID})))
    numbers = {name: match for name in drivers for match in [_NUMBERED.fullmatch(name)] if match}
    return {f"{_WITHOUT_ID}/{name}": drivers[name] for name, match in numbers.items() if int(match[1]) >= first}


def _device(
    monitor: Monitor, name: str, driver: str, drives: Sequence[Mapping[str, Any]]
) -> Iterator[UndeclaredDevice]:
    """Yield a device with its topmost node if it is a disk or a network interface."""
    path = name if name.startswith("/") else f"/machine/peripheral/{name}"
    drive = next((one for one in drives if f"{one.get('qdev')}/".startswith((f"{path}/", f"{name}/"))), None)
    reply = monitor.try_execute("qom-get", {"path": path, "property": "netdev"}) if drive is None else {}
    if drive is None and "return" not in reply:
        return
    node = str((drive or {}).get("node-name", ""))
    yield {
        "id": name,
        "driver": driver,
        "nodes": [node] if node else [],
        "netdev": str(reply.get("return", "")),
    }


def _jobs(monitor: Monitor) -> list[str]:
    """Return the jobs, exports and migrations of a VM."""
    jobs = [f"job {one['id']}" for one in monitor.execute("query-jobs")]
    exports = [f"export {one['id']}" for one in monitor.execute("query-block-exports")]
    migration = str(monitor.execute("query-migrate").get("status", ""))
    return [*map(printable, (*jobs, *exports)), *([] if migration in _ENDED else [f"migration ({migration})"])]


def remove(monitor: Monitor, device: UndeclaredDevice, *, seconds: float = live_disks.UNPLUG_SECONDS) -> None:
    """Unplug a device and remove the nodes or the network behind it; raise HostError if the guest keeps it."""
    live_disks.unplug(monitor, device["id"], seconds)
    for node in device["nodes"]:
        monitor.execute("blockdev-del", {"node-name": node})
    if device["netdev"]:
        monitor.execute("netdev_del", {"id": device["netdev"]})
