# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks if the run on the controller still waits for this module's answer, so that nothing changes after its end.

A playbook that is killed leaves its modules running on the hosts: ssh closes the connection, and they notice only when
they write. Ansible skips empty lines before the answer.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError

LEASE = 60.0
"""Seconds after which the controller of a detached process counts as gone, if it has not asked for its progress."""
RECENT = 15.0
"""Seconds for which a question of the controller counts: more than between two (``plugin_utils/_host_run/jobs.py``)."""
_OUTPUT = 1
_ENDED = "the run that asked for this has ended; nothing was changed"
_DELAY = 0.5
"""Seconds until ssh reports that nobody read the output."""
_PAUSE = 0.2


@dataclass
class _Lease:
    path: str = ""
    """File that the controller touches; empty if this process is not detached from its connection."""


_lease = _Lease()


def expect_lease(path: str) -> None:
    """Take the time of a file, from now on, for the last sign of the controller."""
    _lease.path = path


def check_lease() -> None:
    """Raise HostError if this process is detached, and its controller is gone."""
    if _lease.path and time.time() - os.stat(_lease.path).st_mtime > LEASE:
        raise HostError(_ENDED)


def await_controller(*, within: float) -> None:
    """If this process is detached, wait until its controller has asked; raise HostError if the controller is gone.

    within: seconds, up to now, in which it may have asked.
    """
    since = time.time() - within
    while _lease.path and os.stat(_lease.path).st_mtime < since:
        check_lease()
        time.sleep(_PAUSE)


def check(*, surely: bool = False) -> None:
    """Raise HostError if nobody waits for the answer.

    surely: also if the connection closed this moment. Then only the second write fails: the first one informs ssh.
    """
    if _lease.path:
        check_lease()
        return
    for last in (False, True) if surely else (True,):
        try:
            os.write(_OUTPUT, b"\n")
        except OSError:
            raise HostError(_ENDED) from None
        if not last:
            time.sleep(_DELAY)
