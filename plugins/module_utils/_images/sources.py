# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sources that new images are copied from."""

from __future__ import annotations

from ansible_collections.directdisk.qemu.plugins.module_utils._access.workbench import Workbench
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError
from ansible_collections.directdisk.qemu.plugins.module_utils._host.storage_users import vms_that_write


def size_of_source(origin: Disk, bench: Workbench) -> int:
    """Return the bytes that a guest sees of a source; DeclarationError if a VM of this host writes to it."""
    writers = vms_that_write(origin)
    if writers:
        raise DeclarationError(
            "source",
            f"VM {writers[0]} of this host writes to {origin.described}: a copy would have parts of different moments; "
            "stop the VM, or copy a snapshot",
        )
    return bench.size_of_source(origin)
