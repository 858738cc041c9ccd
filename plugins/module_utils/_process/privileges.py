# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The user that modules need on a host."""

from __future__ import annotations

import os

from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError


def require_root() -> None:
    """Raise HostError if this process is not root's: units, credentials and other users' files are out of its reach."""
    if os.geteuid() != 0:
        raise HostError("needs root on the host: set become: true")
