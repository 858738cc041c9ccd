# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images of a Ceph cluster: whole or not there, cloned within a cluster, copied from everywhere else."""

from __future__ import annotations

from ansible_collections.directdisk.qemu.plugins.module_utils._images.contract import Lifecycle
from ansible_collections.directdisk.qemu.plugins.module_utils._images.rbd.apply import VERBS
from ansible_collections.directdisk.qemu.plugins.module_utils._images.rbd.observe import observe
from ansible_collections.directdisk.qemu.plugins.module_utils._images.rbd.options import OPTIONS, check
from ansible_collections.directdisk.qemu.plugins.module_utils._images.rbd.plan import plan

LIFECYCLE = Lifecycle("rbd", OPTIONS, check, observe, plan, VERBS)
