# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lifecycles: each knows how the images of one kind of storage are made, changed and removed."""

from __future__ import annotations

from ansible_collections.directdisk.qemu.plugins.module_utils._images.image.lifecycle import LIFECYCLE as IMAGE
from ansible_collections.directdisk.qemu.plugins.module_utils._images.lifecycle import Lifecycle
from ansible_collections.directdisk.qemu.plugins.module_utils._images.lun.lifecycle import LIFECYCLE as LUN
from ansible_collections.directdisk.qemu.plugins.module_utils._images.rbd.lifecycle import LIFECYCLE as RBD

LIFECYCLES: dict[str, Lifecycle] = {lifecycle.kind.name: lifecycle for lifecycle in (IMAGE, LUN, RBD)}
