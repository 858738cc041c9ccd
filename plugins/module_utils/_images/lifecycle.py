# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The contract of a folder below ``_images/``: how one kind of image is observed, created, changed and removed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Callable

from ansible_collections.directdisk.qemu.plugins.module_utils._access.workbench import Workbench
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.values import Values
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.contract import (
    Change,
    DesiredImage,
    ImageKind,
    ObservedImage,
)

Actions = Mapping[type[Change], Callable[[DesiredImage, Any, Workbench], None]]
"""The function that applies a change, by the change's class; it takes that class as its second argument."""


@dataclass(frozen=True)
class Lifecycle:
    """The functions that use the storage of one kind of image."""

    kind: ImageKind
    observe: Callable[[DesiredImage, Workbench], ObservedImage]
    actions: Actions
    discover: Callable[[Values, Workbench], ObservedImage] | None = None
    """Lists the disks of a server, with the backend's values but for those of the kind's ``discover_without``."""
