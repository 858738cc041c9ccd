# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state of the VMs of a host, from systemd, their QMP sockets and their consoles. Read-only."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypedDict, TypeVar

from ansible_collections.directdisk.qemu.plugins.module_utils._clients.qmp import Monitor
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import QmpError
from ansible_collections.directdisk.qemu.plugins.module_utils._host import files, guest_agents, systemd
from ansible_collections.directdisk.qemu.plugins.module_utils._host.storage_users import vm_units
from ansible_collections.directdisk.qemu.plugins.module_utils._metrics.units import restarts_due
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.host_state import UnitState
from ansible_collections.directdisk.qemu.plugins.module_utils._programs.vms_resume import open_regular
from ansible_collections.directdisk.qemu.plugins.module_utils._units import paths
from ansible_collections.directdisk.qemu.plugins.module_utils._units.node_names import disk_of_node
from ansible_collections.directdisk.qemu.plugins.module_utils._units.unit_text import opened_in

T = TypeVar("T")
CONSOLE_TAIL = 4096
_SECONDS = 2.0
"""Time limit of a monitor that is asked for its guest's state alone."""


class IoCounters(TypedDict):
    """The I/O of a guest since its VM was started."""

    reads: int
    read_bytes: int
    writes: int
    written_bytes: int
    errors: int


class _DiskInfo(TypedDict):
    node: str
    read_only: bool
    io_status: str
    io: IoCounters


class DiskInfo(_DiskInfo, total=False):
    """A disk that QEMU has open."""

    size: int
    """In bytes, if QEMU was asked for it."""


class _VmInfo(TypedDict):
    unit: str
    active: str
    enabled: bool
    status: str
    machine: str
    """Its board; empty if it does not run."""
    opened: dict[str, bool]
    restart_needed: bool
    disks: dict[str, DiskInfo]
    console: str


class VmInfo(_VmInfo, total=False):
    """A VM that has a unit on this host, as qemu_info returns it."""

    error: str
    """Reason why its monitor could not be asked."""
    agent: guest_agents.AgentInfo
    """Answers of its guest agent, if it runs and its unit has one."""


def vms(*, disk_sizes: bool = False) -> dict[str, VmInfo]:
    """Return all VMs that have a unit on this host, by name.

    disk_sizes: if the sizes of their disks are asked for. The guest halts while its storage does not answer that.
    """
    names = sorted({paths.vm_of_unit(os.path.basename(path)) for path in vm_units()} - {""})
    states = systemd.states([paths.unit_name(name) for name in names])
    due = restarts_due(
        {name: state["invocation"] for name in names if (state := states[paths.unit_name(name)])["active"] == "active"}
    )
    with ThreadPoolExecutor(8) as pool:
        infos = pool.map(lambda name: _vm(name, states[paths.unit_name(name)], disk_sizes=disk_sizes), names)
        found = dict(zip(names, infos))
    for name in due:
        found[name]["restart_needed"] = due[name]
    for name, answers in guest_agents.observe([name for name in names if _has_agent(name, found[name])]).items():
        found[name]["agent"] = answers
    return found


def _has_agent(name: str, info: VmInfo) -> bool:
    unit = f"{paths.UNIT_DIRECTORY}/{paths.unit_name(name)}"
    return info["active"] == "active" and f"path={paths.agent_socket(name)}," in files.read_text(unit)


def _vm(name: str, state: UnitState, *, disk_sizes: bool = False) -> VmInfo:
    info: VmInfo = {
        "unit": paths.unit_name(name),
        "active": state["active"],
        "enabled": state["enabled"],
        "status": "",
        "machine": "",
        "opened": opened_in(files.read_text(f"{paths.UNIT_DIRECTORY}/{paths.unit_name(name)}")),
        "restart_needed": False,
        "disks": {},
        "console": _last_line(paths.console_log(name)),
    }
    if state["active"] != "active":
        return info
    try:
        with Monitor.connect(paths.qmp_socket(name)) as monitor:
            info["status"] = _get(_like(monitor.execute("query-status"), dict), "status", "")
            info["machine"] = _board(monitor.try_execute("qom-get", {"path": "/machine", "property": "type"}))
            # A guest that an I/O error has paused waits anyway.
            info["disks"] = _disks(monitor, ask_storage=disk_sizes or info["status"] == "io-error")
    except QmpError as error:
        info["error"] = str(error)
    return info


def _like(value: Any, kind: type[T]) -> T:
    """Return a value of an answer; raise QmpError if it has another type than QEMU's answers."""
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise QmpError("its monitor does not answer as QEMU does")
    return value


def _get(row: dict[str, Any], key: str, default: T) -> T:
    """Return a member of an answer, which has the type of the default."""
    value = row.get(key)
    return default if value is None else _like(value, type(default))


def _rows(answer: Any) -> list[dict[str, Any]]:
    return [_like(row, dict) for row in _like(answer, list)]


def _disks(monitor: Monitor, *, ask_storage: bool) -> dict[str, DiskInfo]:
    """Return the disks of a VM by name.

    ask_storage: if query-block is used, for which QEMU's main loop waits for answers of the storage.
    """
    rows = _rows(monitor.execute("query-blockstats"))
    counters: dict[str, dict[str, Any]] = {_get(row, "node-name", ""): _get(row, "stats", {}) for row in rows}
    written = _written(_like(monitor.execute("x-debug-query-block-graph"), dict))
    blocks = _rows(monitor.execute("query-block")) if ask_storage else []
    by_node = {_get(_get(block, "inserted", {}), "node-name", ""): block for block in blocks}
    disks = {disk_of_node(node): _disk(node, counters[node], node in written, by_node.get(node)) for node in counters}
    return {disk: info for disk, info in disks.items() if disk}


def _disk(node: str, stats: dict[str, Any], is_written: bool, block: dict[str, Any] | None) -> DiskInfo:
    """Return a disk by its topmost node; block: its answer of query-block."""
    # Only an error that pauses the VM makes another status, and cont resets it.
    info: DiskInfo = {"node": node, "read_only": not is_written, "io_status": "ok", "io": _io(stats)}
    if block is not None:
        info["io_status"] = _get(block, "io-status", "ok")
        info["size"] = _get(_get(_get(block, "inserted", {}), "image", {}), "virtual-size", 0)
    return info


def _written(graph: dict[str, Any]) -> set[str]:
    """Return the nodes that devices may write to."""
    nodes = {_get(node, "id", 0): node for node in _rows(graph.get("nodes"))}
    edges = [
        (nodes.get(_get(edge, "parent", 0), {}), nodes.get(_get(edge, "child", 0), {}))
        for edge in _rows(graph.get("edges"))
        if "write" in _get(edge, "perm", [])
    ]
    return {_get(child, "name", "") for parent, child in edges if parent.get("type") == "block-backend"}


def _io(stats: dict[str, Any]) -> IoCounters:
    return {
        "reads": _get(stats, "rd_operations", 0),
        "read_bytes": _get(stats, "rd_bytes", 0),
        "writes": _get(stats, "wr_operations", 0),
        "written_bytes": _get(stats, "wr_bytes", 0),
        "errors": sum(_get(stats, f"failed_{kind}_operations", 0) for kind in ("rd", "wr", "flush")),
    }


def _board(reply: dict[str, Any]) -> str:
    """Return a board by the name of its type in QEMU."""
    return _get(reply, "return", "").removesuffix("-machine")


def _last_line(path: str) -> str:
    """Return the last line of a console's log that is not empty."""
    try:
        handle = open_regular(path, os.O_RDONLY)
    except OSError:
        return ""
    try:
        data = os.pread(handle, CONSOLE_TAIL, max(os.fstat(handle).st_size - CONSOLE_TAIL, 0))
    except OSError:
        return ""
    finally:
        os.close(handle)
    lines = data.decode(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
