# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""LUNs of iSCSI targets: verified, written and grown without a login of the host. Pure."""

from __future__ import annotations

from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.contract import ImageKind
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.lun import options, plan

KIND = ImageKind(
    "lun",
    options.OPTIONS,
    options.check,
    plan.plan,
    packages=options.PACKAGES,
    discover_without=("target",),
    serves=options.serves,
)
