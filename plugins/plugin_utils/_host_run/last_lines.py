# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The last lines of a run over many hosts: the VMs that it has not brought to their declarations, and why. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run import steps

_MOST_NAMED = 20


def last_lines(results: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the lines about VMs that were left out or need a restart; results: registered, by host."""
    left_out: list[str] = []
    required: list[str] = []
    for host, observed in sorted(steps.observed_results(results).items()):
        left_out += [f"{name} on {host}" for name in observed.get("left_out") or ()]
        reasons: Mapping[str, list[str]] = observed.get("restart_required") or {}
        required += [f"{name} on {host} ({'; '.join(reasons[name])})" for name in sorted(reasons)]
    return [
        *([f"VMs left as they are by qemu_vms_only: {_some(left_out)}"] if left_out else []),
        *([f"VMs that need a restart (-e qemu_vms_restart=due): {_some(required)}"] if required else []),
    ]


def _some(named: list[str]) -> str:
    more = f", and {len(named) - _MOST_NAMED} more" if len(named) > _MOST_NAMED else ""
    return f"{', '.join(named[:_MOST_NAMED])}{more}"
