# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The mark of this host in the names of images that it is creating, so that two hosts never use the same name."""

from __future__ import annotations

import hashlib
import os

from ansible_collections.directdisk.qemu.plugins.module_utils._host import files
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.contract import HOST_MARK_LENGTH

_MACHINE_ID = "/etc/machine-id"


def host_mark() -> str:
    """Return the mark: the same at every run. The host's name is part of it, because clones share a machine-id."""
    identity = files.read_text(_MACHINE_ID) + os.uname().nodename
    return hashlib.sha256(identity.encode()).hexdigest()[:HOST_MARK_LENGTH]
