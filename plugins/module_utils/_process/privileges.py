# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The user that modules need on a host."""

from __future__ import annotations

import os

from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError


def is_root() -> bool:
    return os.geteuid() == 0


def require_root(what: str = "") -> None:
    """Raise HostError if this process is not root's: units, credentials and other users' files are out of its reach.

    what: names what needs it, if the rest of the run does not.
    """
    if not is_root():
        raise HostError(f"{what}{' ' if what else ''}needs root on the host: set become: true")
