# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Changes the media in the CD drives of a running QEMU, over its monitor (QEMU, docs/interop/qemu-qmp-ref).

A guest locks the tray of a drive whose medium it uses. It is asked to give the medium back, and never forced to.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._clients.qmp import Monitor
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError, QmpError
from ansible_collections.directdisk.qemu.plugins.module_utils._host import live_disks
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.live import part_of
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.live_media import top_node
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.live_state import LiveDisk
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.running_parts import Part

TRAY_SECONDS = 15.0
"""Time for a guest to open a tray that it has locked."""
_INTERVAL = 0.2
_CLOSED = re.compile("Tray of .* is not open")


def media(drives: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return the nodes in drives, by device; empty for a drive without a medium.

    drives: answer of query-blockstats.
    """
    return {
        device: str(row.get("node-name", ""))
        for row in drives
        for device in [device_of(str(row.get("qdev", "")))]
        if device
    }


def device_of(path: str) -> str:
    """Return the id of the device to which a drive belongs; empty for one without an id."""
    folder, _slash, rest = path.partition("/machine/peripheral/")
    return rest.partition("/")[0] if not folder else "" if path.startswith("/") else path


def eject(monitor: Monitor, name: str, part: Part, *, seconds: float = TRAY_SECONDS) -> None:
    """Take the medium out of a drive; raise HostError if the guest does not give it back in time, with no change."""
    _with_open_tray(monitor, name, "blockdev-remove-medium", {"id": name}, seconds)
    live_disks.remove_rest(monitor, name, part)
    monitor.execute("blockdev-close-tray", {"id": name})


def insert(
    monitor: Monitor,
    name: str,
    disk: LiveDisk,
    secrets: Mapping[str, str],
    record: live_disks.Record,
    *,
    seconds: float = TRAY_SECONDS,
) -> None:
    """Put a medium into an empty drive. One that cannot be opened leaves nothing, and the drive is empty.

    secrets and record: as in live_disks.attach().
    """
    with contextlib.ExitStack() as undo:
        record(live_disks.open_nodes(monitor, name, disk, secrets, undo))
        undo.callback(live_disks.quietly, monitor, "blockdev-close-tray", {"id": name})
        node = top_node(part_of(disk))
        _with_open_tray(monitor, name, "blockdev-insert-medium", {"id": name, "node-name": node}, seconds)
        undo.pop_all()
    monitor.execute("blockdev-close-tray", {"id": name})


def _with_open_tray(monitor: Monitor, name: str, command: str, arguments: dict[str, Any], seconds: float) -> None:
    """Open the tray of a drive and execute a command; one that is locked is opened by the guest, which is asked."""
    # It succeeds also if the guest has locked the tray, and then only asks the guest.
    monitor.execute("blockdev-open-tray", {"id": name})
    deadline = time.monotonic() + seconds
    monitor.allow(seconds + live_disks.UNPLUG_SECONDS)
    # The state of a tray is in the answer of query-block alone, which asks the storage of all disks.
    while "error" in (reply := monitor.try_execute(command, arguments)):
        message = str(reply["error"].get("desc") if isinstance(reply["error"], dict) else reply["error"])
        if not _CLOSED.search(message):
            raise QmpError(f"{command}: {message}")
        if time.monotonic() > deadline:
            raise HostError(
                f"the guest uses its medium and has not given it back within {seconds:g} s; unmount it there and run "
                "this again, or stop the VM"
            )
        time.sleep(_INTERVAL)
