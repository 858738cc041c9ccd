# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Carries out what is to be done to a LUN: formats, images, growth; on its storage host, the LUN itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Callable

from ansible_collections.directdisk.qemu.plugins.module_utils._access.workbench import Workbench
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.contract import Values
from ansible_collections.directdisk.qemu.plugins.module_utils._clients.qmp import Monitor
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.explain import storage_errors
from ansible_collections.directdisk.qemu.plugins.module_utils._images.contract import DesiredImage
from ansible_collections.directdisk.qemu.plugins.module_utils._images.lun.server import apply as server
from ansible_collections.directdisk.qemu.plugins.module_utils._images.lun.session import at_portal
from ansible_collections.directdisk.qemu.plugins.module_utils._images.volume import apply as fixed


def _write_format(desired: DesiredImage, values: Values, bench: Workbench) -> None:
    disk = at_portal(desired.disk, values["portal"])
    with storage_errors(disk):
        fixed.write_format(disk, values, bench)


def _import(desired: DesiredImage, values: Values, bench: Workbench) -> None:
    disk = at_portal(desired.disk, values["portal"])
    with storage_errors(disk):
        fixed.import_source(disk, values, bench)


def _grow(desired: DesiredImage, values: Values, bench: Workbench) -> None:
    disk = at_portal(desired.disk, values["portal"])
    with storage_errors(disk):
        if not desired.monitor:
            with bench.image(disk, writable=True) as node:
                node.resize(values["size"])
            return
        with Monitor.connect(desired.monitor, seconds=bench.open_timeout) as monitor:
            monitor.execute("block_resize", {"node-name": desired.node, "size": values["size"]})


ACTIONS: Mapping[str, Callable[[DesiredImage, Values, Workbench], None]] = {
    "format": _write_format,
    "import": _import,
    "grow": _grow,
    **server.ACTIONS,
}
