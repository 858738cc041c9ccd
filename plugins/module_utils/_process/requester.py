# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The run that waits for this module's answer: once it is gone, nothing may be changed for it any more.

A playbook that is killed leaves its modules running on the hosts: ssh hangs up, and they do not hear of it until they
write. Ansible passes over empty lines before the answer.
"""

from __future__ import annotations

import os
import time

from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError

_OUTPUT = 1
_WAY = 0.5
"""Seconds that ssh has to say that nobody took what was written."""


def check(*, surely: bool = False) -> None:
    """Raise HostError if nobody waits for the answer.

    surely: also where that has happened this moment. The first line only tells ssh, the second one is refused.
    """
    for last in (False, True) if surely else (True,):
        try:
            os.write(_OUTPUT, b"\n")
        except OSError:
            raise HostError("the run that asked for this has ended; nothing was changed") from None
        if not last:
            time.sleep(_WAY)
