# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""RBD images in a cluster."""

from __future__ import annotations

from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.rbd.kind import KIND
from ansible_collections.directdisk.qemu.plugins.module_utils._images.lifecycle import Lifecycle
from ansible_collections.directdisk.qemu.plugins.module_utils._images.rbd import apply, observe

LIFECYCLE = Lifecycle(KIND, observe.observe, apply.ACTIONS)
