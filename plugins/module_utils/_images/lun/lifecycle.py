# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""LUNs, through a portal of their target or on their storage host."""

from __future__ import annotations

from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.lun.kind import KIND
from ansible_collections.directdisk.qemu.plugins.module_utils._images.lifecycle import Lifecycle
from ansible_collections.directdisk.qemu.plugins.module_utils._images.lun import apply, observe, session

LIFECYCLE = Lifecycle(KIND, observe.observe, apply.ACTIONS, discover=session.discover)
