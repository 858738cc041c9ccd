# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The user that modules need on a host, and users for processes that need less."""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
from collections.abc import Iterator

from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError

_USERS = 0x70000000
"""The first of the user numbers that systemd lists as unused (its documentation, "Users, Groups, UIDs and GIDs")."""
_AT_A_TIME = 64
"""Users that a process can have at the same time: as many as there are for each PID below 2^22 (proc(5), pid_max)."""
_NUMBERS = itertools.cycle(range(_AT_A_TIME))
_TAKEN: set[int] = set()
_LOCK = threading.Lock()


def is_root() -> bool:
    return os.geteuid() == 0


def require_root(what: str = "") -> None:
    """Raise HostError if this process is not root's: units, credentials and other users' files are out of its reach.

    what: names what needs it, if the rest of the run does not.
    """
    if not is_root():
        raise HostError(f"{what}{' ' if what else ''}needs root on the host: set become: true")


@contextlib.contextmanager
def own_user() -> Iterator[int]:
    """Yield a user that no other process of this host has until the end of the block; this process's, if not root's."""
    if not is_root():
        yield os.geteuid()
        return
    with _LOCK:
        # Not the one that was free last: a process of it may still be ending.
        number = next((one for one in itertools.islice(_NUMBERS, _AT_A_TIME) if one not in _TAKEN), None)
        if number is None:
            raise HostError(f"this run has {_AT_A_TIME} users of its own already; set fewer workers")
        _TAKEN.add(number)
    try:
        yield _USERS + os.getpid() * _AT_A_TIME + number
    finally:
        with _LOCK:
            _TAKEN.remove(number)
