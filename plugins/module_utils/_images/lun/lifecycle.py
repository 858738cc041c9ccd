# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""LUNs: what the target gives out is verified, and what they hold is written, without a login of the host."""

from __future__ import annotations

from ansible_collections.directdisk.qemu.plugins.module_utils._images.contract import Lifecycle
from ansible_collections.directdisk.qemu.plugins.module_utils._images.lun.apply import VERBS
from ansible_collections.directdisk.qemu.plugins.module_utils._images.lun.observe import observe
from ansible_collections.directdisk.qemu.plugins.module_utils._images.lun.options import OPTIONS, check, serves
from ansible_collections.directdisk.qemu.plugins.module_utils._images.lun.plan import plan
from ansible_collections.directdisk.qemu.plugins.module_utils._images.lun.session import PACKAGES, survey

LIFECYCLE = Lifecycle(
    "lun",
    OPTIONS,
    check,
    observe,
    plan,
    VERBS,
    packages=PACKAGES,
    survey=survey,
    survey_without=("target",),
    serves=serves,
)
