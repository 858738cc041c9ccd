# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A LUN seen from its storage host: a tgtd there gives it out, now and after its next start."""

from __future__ import annotations

from ansible_collections.directdisk.qemu.plugins.module_utils._lifecycles.lun.server.look import observe
from ansible_collections.directdisk.qemu.plugins.module_utils._lifecycles.lun.server.options import (
    OPTIONS,
    check,
    lun_of,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._lifecycles.lun.server.plan import plan
from ansible_collections.directdisk.qemu.plugins.module_utils._lifecycles.lun.server.work import VERBS

__all__ = ["OPTIONS", "VERBS", "check", "lun_of", "observe", "plan"]
