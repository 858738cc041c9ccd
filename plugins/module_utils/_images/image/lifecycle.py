# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images on all storage that QEMU itself opens, reads and writes."""

from __future__ import annotations

from typing import Callable

from ansible_collections.directdisk.qemu.plugins.module_utils._access.workbench import Workbench
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.contract import DesiredImage, ObservedImage
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.image.kind import (
    KIND,
    StorageKind,
    storage_of,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._images.image import file, readonly_image, volume
from ansible_collections.directdisk.qemu.plugins.module_utils._images.lifecycle import Actions, Lifecycle

_ACTIONS: Actions = {**file.ACTIONS, **volume.ACTIONS, **readonly_image.ACTIONS}

_OBSERVE: dict[StorageKind, Callable[[DesiredImage, Workbench], ObservedImage]] = {
    StorageKind.FILE: file.observe,
    StorageKind.VOLUME: volume.observe,
    StorageKind.READ_ONLY: readonly_image.observe,
}


def _observe(desired: DesiredImage, bench: Workbench) -> ObservedImage:
    return _OBSERVE[storage_of(desired)](desired, bench)


LIFECYCLE = Lifecycle(KIND, _observe, _ACTIONS)
