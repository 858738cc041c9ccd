# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""LUNs of iSCSI targets: verified, written and grown without a login of the host."""

from __future__ import annotations

from ansible_collections.directdisk.qemu.plugins.module_utils._images.contract import Lifecycle
from ansible_collections.directdisk.qemu.plugins.module_utils._images.lun import apply, observe, options, plan, session

LIFECYCLE = Lifecycle(
    "lun",
    options.OPTIONS,
    options.check,
    observe.observe,
    plan.plan,
    apply.ACTIONS,
    packages=session.PACKAGES,
    discover=session.discover,
    discover_without=("target",),
    serves=options.serves,
)
