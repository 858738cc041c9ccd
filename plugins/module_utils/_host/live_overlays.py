# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes the overlay of a disk in a running QEMU, over its monitor (QEMU, docs/interop/qemu-qmp-ref).

QEMU itself makes it: the folder belongs to its user, and root opens no file there.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._clients.qmp import Monitor
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.live_state import LiveOverlay
from ansible_collections.directdisk.qemu.plugins.module_utils._units.node_names import vm_node

_JOB = vm_node("create")
_PART = vm_node("part")
_TOO_LARGE = 1 << 62
"""More bytes than an image can have."""
_SIZE = re.compile(r"size of the containing file \((\d+)\)")
"""In both of QEMU's messages (block/raw-format.c)."""
_INTERVAL = 0.05
_LIMIT = 30.0
"""Seconds that an overlay, which begins empty, may take."""


def make(monitor: Monitor, node: Mapping[str, Any], overlay: LiveOverlay) -> None:
    """Make an overlay of the size of its image, whose node is open; one that persists is made only once.

    node: of the overlay's file.
    """
    path = overlay["path"]
    if overlay["persistent"] and os.path.lexists(path):
        return
    new = new_file(overlay)
    _create(monitor, path, {"driver": "file", "filename": new, "size": 0})
    monitor.execute("blockdev-add", {**node, "filename": new})
    try:
        header = {"backing-file": overlay["backing"], "backing-fmt": overlay["format"]}
        size = _size(monitor, overlay["base"])
        _create(monitor, path, {"driver": "qcow2", "file": node["node-name"], "size": size, **header})
    finally:
        monitor.execute("blockdev-del", {"node-name": node["node-name"]})
    if overlay["persistent"]:
        try:
            os.rename(new, path)
        except OSError as error:
            raise HostError(f"{path}: {error.strerror}") from None


def new_file(overlay: LiveOverlay) -> str:
    """Return the path of the file that is made: a run that is killed leaves no half of an overlay that persists."""
    return f"{overlay['path']}.new" if overlay["persistent"] else overlay["path"]


def remove(path: str) -> None:
    """Remove an overlay that nothing needs any more, or what there is of a new one."""
    try:
        # It follows no link in the folder, which belongs to the VM's user.
        os.unlink(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise HostError(f"{path}: {error.strerror}") from None


def _size(monitor: Monitor, node: str) -> int:
    """Return the size of a node, which QEMU tells as it refuses a part that is larger.

    No other command tells that of one node alone; query-named-block-nodes asks the storage of all (block_graph.py).
    """
    part = {"driver": "raw", "node-name": _PART, "file": node, "read-only": True, "size": _TOO_LARGE}
    answer = monitor.try_execute("blockdev-add", part)
    size = _SIZE.search(str(answer.get("error")))
    if not size:
        raise HostError(f"its overlay cannot be made: QEMU does not tell the size of {node} ({answer})")
    return int(size[1])


def _create(monitor: Monitor, path: str, options: Mapping[str, Any]) -> None:
    """Create the file of an overlay or its format, and wait for it; raise HostError if it cannot be created."""
    # A run that was killed may have left its job.
    monitor.try_execute("job-dismiss", {"id": _JOB})
    monitor.execute("blockdev-create", {"job-id": _JOB, "options": dict(options)})
    ends = time.monotonic() + _LIMIT
    while (job := _job(monitor)).get("status") != "concluded":
        if time.monotonic() > ends:
            raise HostError(f"its overlay {path} is not made after {_LIMIT:.0f} s")
        time.sleep(_INTERVAL)
    monitor.execute("job-dismiss", {"id": _JOB})
    if "error" in job:
        raise HostError(f"its overlay {path} cannot be made: {job['error']}")


def _job(monitor: Monitor) -> dict[str, Any]:
    """Return the job; raise HostError if QEMU has none."""
    jobs = [one for one in monitor.execute("query-jobs") if one.get("id") == _JOB]
    if not jobs:
        raise HostError("QEMU has no job that makes its overlay")
    return dict(jobs[0])
