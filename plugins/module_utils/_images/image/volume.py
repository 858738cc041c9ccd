# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images on volumes that exist and have a fixed size: devices, exports and VDIs."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from dataclasses import replace

from ansible_collections.directdisk.qemu.plugins.module_utils._access.nodes import OpenNode
from ansible_collections.directdisk.qemu.plugins.module_utils._access.workbench import Workbench
from ansible_collections.directdisk.qemu.plugins.module_utils._clients.nbd import NbdClient
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.image_format import has_format
from ansible_collections.directdisk.qemu.plugins.module_utils._host.storage_users import vms_that_open
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.contract import DesiredImage
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.image.observed import (
    ObservedVolume,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.volume import content
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.volume.blank_check import is_full
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.volume.changes import (
    ImportSource,
    WriteFormat,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._images.image.verify import observe_content, verify
from ansible_collections.directdisk.qemu.plugins.module_utils._images.lifecycle import Actions
from ansible_collections.directdisk.qemu.plugins.module_utils._images.sources import size_of_source
from ansible_collections.directdisk.qemu.plugins.module_utils._images.volume import apply, blank


def observe(desired: DesiredImage, bench: Workbench) -> ObservedVolume:
    disk = desired.disk
    opened_by = tuple(vms_that_open(disk, bench.users))
    in_use = _used_by_host(disk.backend.access.reach(disk.source).devices)
    data_at = None
    with bench.storage(disk) as storage:
        observed = observe_content(ObservedVolume, desired, storage, in_use=bool(opened_by))
        capacity = int(storage.describe()["virtual-size"])
        if observed.problem or not has_format(disk):
            state, data_at = _observe_data(desired, storage)
        elif disk.origin:
            with storage.image() as image:
                state, data_at = _observe_data(desired, image)
        else:
            state = content.DATA
    needs_format = bool(observed.problem) and state != content.DATA and has_format(disk)
    problem = observed.problem if state == content.DATA else None
    is_copied = disk.origin and desired.state == "present" and (problem or state != content.DATA)
    return replace(
        observed,
        problem=problem,
        opened_by=opened_by,
        content=state,
        capacity=capacity,
        in_use=in_use,
        needs_format=needs_format,
        source_size=size_of_source(disk.origin, bench) if disk.origin and is_copied else None,
        data_at=data_at,
    )


def _observe_data(desired: DesiredImage, node: OpenNode) -> tuple[str, int | None]:
    """Return the kind of content, and the offset of data that only a full read found."""
    with node.accessed() as client:
        state = content.content_of(_samples(client, content.sampled(client.size)))
    is_written_to = bool(has_format(desired.disk) or desired.disk.origin)
    if state != content.BLANK or not is_written_to or not is_full(desired):
        return state, None
    data_at = blank.first_data(node)
    return (content.BLANK if data_at is None else content.DATA), data_at


def _samples(client: NbdClient, places: Iterable[tuple[int, int]]) -> dict[int, bytes]:
    return {start: client.read(start, length) for start, length in places}


def _used_by_host(devices: Iterable[str]) -> str:
    """Return the device that the host itself has mounted or uses as a part of another; empty if none is."""
    for device in devices:
        try:
            os.close(os.open(device, os.O_RDONLY | os.O_EXCL | os.O_NONBLOCK))
        except OSError as error:
            if error.errno == errno.EBUSY:
                return device
    return ""


def import_source(desired: DesiredImage, change: ImportSource, bench: Workbench) -> None:
    apply.import_source(desired, change, bench)
    verify(desired, bench, "the copy was kept")


ACTIONS: Actions = {WriteFormat: apply.write_format, ImportSource: import_source}
