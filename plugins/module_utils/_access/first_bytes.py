# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the first bytes of disks on storage that only QEMU's drivers reach, before VMs open them."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass

from ansible_collections.directdisk.qemu.plugins.module_utils._access import web_image
from ansible_collections.directdisk.qemu.plugins.module_utils._access.confinement import confinement
from ansible_collections.directdisk.qemu.plugins.module_utils._access.workbench import Workbench
from ansible_collections.directdisk.qemu.plugins.module_utils._access.workers import at_workbenches
from ansible_collections.directdisk.qemu.plugins.module_utils._access.workspace import FolderResources
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.resources import UnitResources
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.explain import storage_errors
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DirectDiskError
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.host_state import HEAD_LENGTH
from ansible_collections.directdisk.qemu.plugins.module_utils._routes import nbdkit, stage
from ansible_collections.directdisk.qemu.plugins.module_utils._routes.capabilities import Capabilities
from ansible_collections.directdisk.qemu.plugins.module_utils._routes.selection import choose_route

SECONDS = 8.0
"""Time limit for all disks together: slow storage must not delay the observation of the host."""
_SECONDS_EACH = 0.25
"""Time that each disk adds to that, which is longer than storage takes that answers."""
_OPEN_SECONDS = 4.0
"""Time limit for one disk."""


@dataclass(frozen=True)
class FirstBytes:
    """The first bytes of a disk, or why they could not be read; neither if a read would fetch the whole image."""

    head: bytes = b""
    problem: str = ""


def first_bytes(disks: Sequence[Disk], capabilities: Capabilities, *, seconds: float = SECONDS) -> list[FirstBytes]:
    """Read the first bytes of disks, in the order of the disks; an error is a part of the result."""
    seconds += _SECONDS_EACH * len(disks)
    deadline = time.monotonic() + seconds

    def read_one(disk: Disk, bench: Workbench) -> FirstBytes:
        left = deadline - time.monotonic()
        if left <= 0:
            return FirstBytes(problem=f"{disk.described}: other disks have taken the {seconds:g} s that all have")
        bench.open_timeout = min(left, _OPEN_SECONDS)
        try:
            with storage_errors(disk):
                return FirstBytes(_read(disk, bench)[:HEAD_LENGTH])
        except DirectDiskError as error:
            return FirstBytes(problem=str(error))

    return at_workbenches(read_one, disks, capabilities, open_timeout=_OPEN_SECONDS)


def _read(disk: Disk, bench: Workbench) -> bytes:
    route, _warning = choose_route(disk, bench.capabilities)
    if route == stage.ROUTE.name and not os.path.exists(stage.copy_of(disk)):
        resources = FolderResources(bench.folder, disk.name)
        allowed = confinement(stage.followed(disk, disk.backend.access.reach(disk.source)))
        return web_image.read_head(disk, resources, seconds=bench.open_timeout, begin=bench.confined(allowed))
    if route == nbdkit.ROUTE.name and nbdkit.plugin_of(disk, UnitResources("", disk.name, "")).unpacks:
        return b""
    with bench.storage(disk) as storage, storage.accessed() as client:
        return client.read(0, min(HEAD_LENGTH, client.size))
