# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks, before a disk is copied, that it is the whole image that is declared."""

from __future__ import annotations

from ansible_collections.directdisk.qemu.plugins.module_utils._access.file_kind import not_raw
from ansible_collections.directdisk.qemu.plugins.module_utils._access.nodes import Storage
from ansible_collections.directdisk.qemu.plugins.module_utils._access.qemu_img import check_qcow2
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError


def check_content(storage: Storage, origin: Disk) -> None:
    """HostError where what is stored is empty or in another format."""
    if not storage.describe()["virtual-size"]:
        raise HostError("it is empty (0 bytes), as is what a link in an archive names; correct the source")
    problem = not_raw(origin.settings, storage.header().head, written_by_guests=False)
    if problem:
        raise HostError(problem)


def check_whole(storage: Storage, origin: Disk) -> None:
    """HostError where a qcow2 is cut off: QEMU reads zeroes there. Its header has been checked by now."""
    if origin.settings["format"] != "qcow2":
        return
    with storage.served(writable=False) as uri:
        found = check_qcow2(uri, origin.settings.get("luks", {}).get("passphrase", ""), storage.bench)
    errors = found.get("corruptions", 0) + found.get("check-errors", 0)
    if errors:
        raise HostError(f"it is cut off or damaged: qemu-img check finds {errors} errors in it; fetch or make it again")
