# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kinds of images. Pure."""

from __future__ import annotations

from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.contract import DesiredImage, ImageKind
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.desired import desired_image
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.image.kind import KIND as IMAGE
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.lun.kind import KIND as LUN
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.rbd.kind import KIND as RBD

KINDS: dict[str, ImageKind] = {kind.name: kind for kind in (IMAGE, LUN, RBD)}


def read_desired(
    disk: Disk, where: str, *, state: str = "present", monitor: str = "", node: str = "", closing: str = ""
) -> DesiredImage:
    """Return the desired state of a disk, of the kind that its backend names."""
    kind = KINDS[disk.backend.image_kind]
    return desired_image(kind, disk, where, state=state, monitor=monitor, node=node, closing=closing)
