# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks if the run on the controller still waits for this module's answer, so that nothing changes after its end.

A playbook that is killed leaves its modules running on the hosts: ssh closes the connection, and they notice only when
they write. Ansible skips empty lines before the answer.
"""

from __future__ import annotations

import os
import time

from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError

_OUTPUT = 1
_DELAY = 0.5
"""Seconds until ssh reports that nobody read the output."""


def check(*, surely: bool = False) -> None:
    """Raise HostError if nobody waits for the answer.

    surely: also if the connection closed this moment. Then only the second write fails: the first one informs ssh.
    """
    for last in (False, True) if surely else (True,):
        try:
            os.write(_OUTPUT, b"\n")
        except OSError:
            raise HostError("the run that asked for this has ended; nothing was changed") from None
        if not last:
            time.sleep(_DELAY)
