# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""RBD images: cloned within a cluster, copied from all other storage, complete when they get their name."""

from __future__ import annotations

from ansible_collections.directdisk.qemu.plugins.module_utils._images.contract import Lifecycle
from ansible_collections.directdisk.qemu.plugins.module_utils._images.rbd import apply, observe, options, plan

LIFECYCLE = Lifecycle("rbd", options.OPTIONS, options.check, observe.observe, plan.plan, apply.ACTIONS)
