# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""RBD images: cloned within a cluster, copied from all other storage, complete when they get their name. Pure."""

from __future__ import annotations

from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.contract import ImageKind
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.rbd import options, plan

KIND = ImageKind("rbd", options.OPTIONS, options.check, plan.plan)
