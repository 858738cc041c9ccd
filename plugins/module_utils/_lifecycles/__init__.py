# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lifecycles: each knows how the images of one kind of storage are made, changed and removed."""

from __future__ import annotations

from ansible_collections.directdisk.qemu.plugins.module_utils._lifecycle import Lifecycle
from ansible_collections.directdisk.qemu.plugins.module_utils._lifecycles import image, lun, rbd

LIFECYCLES: dict[str, Lifecycle] = {module.LIFECYCLE.name: module.LIFECYCLE for module in (image, lun, rbd)}
