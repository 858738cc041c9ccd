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
    """Raise HostError if a source is empty or has another format than the declared one."""
    if not storage.describe()["virtual-size"]:
        raise HostError("it is empty (0 bytes), as a link in an archive is; correct the source")
    problem = not_raw(origin.settings, storage.header().head, written_by_guests=False)
    if problem:
        raise HostError(problem)


def check_whole(storage: Storage, origin: Disk) -> None:
    """Raise HostError if a qcow2 is truncated: QEMU reads zeroes there. Its header is already checked."""
    if origin.settings["format"] != "qcow2":
        return
    with storage.served(writable=False) as uri:
        report = check_qcow2(uri, origin.settings.get("luks", {}).get("passphrase", ""), storage.bench)
    errors = report.get("corruptions", 0) + report.get("check-errors", 0)
    if errors:
        raise HostError(
            f"it is cut off or damaged: qemu-img check finds {errors} errors in it; fetch or create it again"
        )
