# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The storage in which images are files: one file each. A backend without one has disks that its server makes."""

from __future__ import annotations

from ansible_collections.directdisk.qemu.plugins.module_utils._images.stores import file, gluster, nfs, ssh
from ansible_collections.directdisk.qemu.plugins.module_utils._images.stores.contract import Store

STORES: dict[str, Store] = {module.STORE.backend: module.STORE for module in (file, gluster, nfs, ssh)}
