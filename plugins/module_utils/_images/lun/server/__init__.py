# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A LUN seen from its storage host: a tgtd there gives it out, now and after its next start."""

from __future__ import annotations

from ansible_collections.directdisk.qemu.plugins.module_utils._images.lun.server.apply import VERBS
from ansible_collections.directdisk.qemu.plugins.module_utils._images.lun.server.observe import observe
from ansible_collections.directdisk.qemu.plugins.module_utils._images.lun.server.options import OPTIONS, check, lun_of
from ansible_collections.directdisk.qemu.plugins.module_utils._images.lun.server.plan import plan

__all__ = ["OPTIONS", "VERBS", "check", "lun_of", "observe", "plan"]
