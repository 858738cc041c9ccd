# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Observes the disks of VMs, as a part of the observation of their host."""

from __future__ import annotations

from collections.abc import Sequence

from ansible_collections.directdisk.qemu.plugins.module_utils._access.first_bytes import first_bytes
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import read_image
from ansible_collections.directdisk.qemu.plugins.module_utils._host.storage_users import StorageUsers
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.entries import read_entries
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.vm_disks import ManagedDisk, entries_of
from ansible_collections.directdisk.qemu.plugins.module_utils._images.batch import (
    answer_of,
    lacking_bindings,
    reconcile_all,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.disk_requests import (
    DisksAnswer,
    DiskToManage,
    DiskToRead,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.host_state import ObservedHost
from ansible_collections.directdisk.qemu.plugins.module_utils._routes.capabilities import Capabilities


def predict(managed: Sequence[DiskToManage], observed: ObservedHost, capabilities: Capabilities) -> DisksAnswer:
    """Return what would become of the images of disks; may restart the module with another interpreter."""
    entries = read_entries(entries_of((ManagedDisk(**disk) for disk in managed), observed["units"]))
    lacking = lacking_bindings(entries, capabilities)
    users = StorageUsers(observed["units"])
    return answer_of(reconcile_all(entries, capabilities, check_mode=True, lacking=lacking, users=users))


def read_heads(to_read: Sequence[DiskToRead], observed: ObservedHost, capabilities: Capabilities) -> None:
    """Add the first bytes of disks to the observation."""
    disks = [read_image("disk", disk["declared"], disk["name"]) for disk in to_read]
    for disk, found in zip(to_read, first_bytes(disks, capabilities)):
        if found.problem:
            observed["not_read"][disk["name"]] = found.problem
        else:
            observed["heads"][disk["name"]] = found.head.hex()
