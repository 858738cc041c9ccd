# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The user that modules need on a host, and users for processes that need less."""

from __future__ import annotations

import itertools
import os

from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError

_USERS = 0x70000000
"""The first of the user numbers that systemd lists as unused (its documentation, "Users, Groups, UIDs and GIDs")."""
_AT_A_TIME = 16
"""Users that a process can have at the same time."""
_NUMBERS = itertools.count()


def is_root() -> bool:
    return os.geteuid() == 0


def require_root(what: str = "") -> None:
    """Raise HostError if this process is not root's: units, credentials and other users' files are out of its reach.

    what: names what needs it, if the rest of the run does not.
    """
    if not is_root():
        raise HostError(f"{what}{' ' if what else ''}needs root on the host: set become: true")


def new_user() -> int:
    """Return a user that no other process of this host has."""
    return _USERS + os.getpid() * _AT_A_TIME + next(_NUMBERS) % _AT_A_TIME
