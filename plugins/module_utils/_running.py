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
from typing import Any, TypeVar

from ansible_collections.directdisk.qemu.plugins.module_utils import (
    _agent,
    _files,
    _opened_storage,
    _paths,
    _systemd,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._changes import STOPPED
from ansible_collections.directdisk.qemu.plugins.module_utils._clients.qmp import Monitor
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import QmpError
from ansible_collections.directdisk.qemu.plugins.module_utils._vms_resume import open_regular

T = TypeVar("T")
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
    paths = glob.glob(f"{_paths.UNIT_DIRECTORY}/qemu-vm-*.service")
    opened = {os.path.basename(path): opened_by(_files.read_text(path)) for path in paths}
    asked = _opened_storage.units_that_may_open(identity, opened)
    states = _systemd.show(asked)
    now = _opened_storage.opened_now({unit: opened[unit] for unit in asked}, states)
    running = (unit for unit in asked if states[unit]["active"] not in STOPPED)
    return sorted(_paths.vm_of_unit(unit) for unit in running if identity in now[unit])


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
            found["status"] = _get(_like(monitor.execute("query-status"), dict), "status", "")
            counters: dict[str, dict[str, Any]] = {
                _get(one, "node-name", ""): _get(one, "stats", {}) for one in _rows(monitor.execute("query-blockstats"))
            }
            disks = [_disk(block, counters) for block in _rows(monitor.execute("query-block"))]
            found["disks"] = {disk: facts for disk, facts in disks if disk}
    except QmpError as error:
        found["error"] = str(error)
    return found


def is_stale(name: str) -> bool:
    """Whether what a machine was started from has changed since."""
    try:
        # Its folder is the VM's own: nothing is followed there.
        started = os.lstat(_paths.qmp_socket(name)).st_mtime
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


def _like(value: Any, kind: type[T]) -> T:
    """A value of an answer, if it is of the kind that QEMU's are."""
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise QmpError("its monitor does not answer as QEMU does")
    return value


def _get(row: dict[str, Any], key: str, default: T) -> T:
    """A member of an answer, of the default's kind."""
    value = row.get(key)
    return default if value is None else _like(value, type(default))


def _rows(answer: Any) -> list[dict[str, Any]]:
    return [_like(row, dict) for row in _like(answer, list)]


def _disk(block: dict[str, Any], counters: dict[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    """One device of query-block: the disk's name and its facts."""
    inserted: dict[str, Any] = _get(block, "inserted", {})
    image: dict[str, Any] = _get(inserted, "image", {})
    node = _get(inserted, "node-name", "")
    facts = {
        "node": node,
        "size": _get(image, "virtual-size", 0),
        "read_only": _get(inserted, "ro", False),
        "io_status": _get(block, "io-status", "ok"),
        "io": _io(counters.get(node, {})),
    }
    disk = node.partition(".")[0]
    return "" if disk == "machine" else disk, facts


def _io(stats: dict[str, Any]) -> dict[str, int]:
    """What a guest has read and written since its machine was started, and how often that failed."""
    return {
        "reads": _get(stats, "rd_operations", 0),
        "read_bytes": _get(stats, "rd_bytes", 0),
        "writes": _get(stats, "wr_operations", 0),
        "written_bytes": _get(stats, "wr_bytes", 0),
        "errors": sum(_get(stats, f"failed_{kind}_operations", 0) for kind in ("rd", "wr", "flush")),
    }


def _last_line(path: str) -> str:
    """The last line that is not empty of a console's log."""
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
