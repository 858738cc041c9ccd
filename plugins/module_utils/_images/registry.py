# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lifecycles: each knows how the images of one kind of storage are made, changed and removed."""

from __future__ import annotations

from ansible_collections.directdisk.qemu.plugins.module_utils._images import image, lun, rbd
from ansible_collections.directdisk.qemu.plugins.module_utils._images.contract import Lifecycle

LIFECYCLES: dict[str, Lifecycle] = {module.LIFECYCLE.name: module.LIFECYCLE for module in (image, lun, rbd)}
