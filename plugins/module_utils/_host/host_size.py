# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The memory and CPUs of this host, as its kernel reports them."""

from __future__ import annotations

import os
import re

from ansible_collections.directdisk.qemu.plugins.module_utils._plan.host_size import HostSize


def host_size(meminfo: str = "/proc/meminfo") -> HostSize:
    """Return the memory and CPUs of this host."""
    with open(meminfo, encoding="ascii") as stream:
        kibibytes = {name: int(number) for name, number in re.findall(r"^(\w+):\s+(\d+) kB$", stream.read(), re.M)}
    return {
        "memory": kibibytes["MemTotal"] * 1024,
        "swap": kibibytes.get("SwapTotal", 0) * 1024,
        "cpus": os.cpu_count() or 1,
    }
