# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Applies changes to LUNs: through the portal that let this host in, or on their storage host."""

from __future__ import annotations

from ansible_collections.directdisk.qemu.plugins.module_utils._access.workbench import Workbench
from ansible_collections.directdisk.qemu.plugins.module_utils._clients.qmp import Monitor
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.explain import storage_errors
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.contract import DesiredImage
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.lun.observed import GrowLun
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.volume.changes import (
    ImportSource,
    WriteFormat,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._images.lifecycle import Actions
from ansible_collections.directdisk.qemu.plugins.module_utils._images.lun.server import apply as server
from ansible_collections.directdisk.qemu.plugins.module_utils._images.volume import apply as volume


def _grow(desired: DesiredImage, change: GrowLun, bench: Workbench) -> None:
    with storage_errors(change.disk):
        if not desired.monitor:
            with bench.image(change.disk, writable=True) as node:
                node.resize(change.size)
            return
        with Monitor.connect(desired.monitor, seconds=bench.open_timeout) as monitor:
            monitor.execute("block_resize", {"node-name": desired.node, "size": change.size})


ACTIONS: Actions = {
    WriteFormat: volume.write_format,
    ImportSource: volume.import_source,
    GrowLun: _grow,
    **server.ACTIONS,
}
