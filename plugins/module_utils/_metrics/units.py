# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# pylint: disable=ansible-bad-function
"""VMs of this host as their units and systemd describe them: one call of systemctl for all."""

from __future__ import annotations

import glob
import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError
from ansible_collections.directdisk.qemu.plugins.module_utils._programs import unit_record
from ansible_collections.directdisk.qemu.plugins.module_utils._units import paths
from ansible_collections.directdisk.qemu.plugins.module_utils._units.restart_rule import is_restart_due

SYSTEMCTL_SECONDS = 10
_PROPERTIES = ("Id", "ActiveState", "SubState", "UnitFileState", "InvocationID", "NRestarts")
_STATES = {
    "active": "running",
    "reloading": "running",
    "activating": "starting",
    "deactivating": "stopping",
    "failed": "failed",
    "inactive": "stopped",
}
"""States of units (ActiveState) in the words of VMs."""
_NODE = re.compile(r'"node-name":"([A-Za-z0-9_-]+)\.')


class UnitOfVm(NamedTuple):
    """The launch unit of a VM, and its state in systemd."""

    vm: str
    state: str
    """As in exposition.STATES; of one that runs, only its QEMU knows if it is paused."""
    enabled: bool
    restarts: int
    restart_due: bool
    disks: frozenset[str]
    """The disks that the unit names."""


def vms() -> list[UnitOfVm]:
    """Return all VMs that have a launch unit on this host, sorted by name."""
    found = glob.glob(paths.units_of_vms())
    names = sorted({paths.vm_of_unit(os.path.basename(path)) for path in found} - {""})
    names = [name for name in names if f"{paths.UNIT_DIRECTORY}/{paths.unit_name(name)}" in found]
    shown = _show([paths.unit_name(name) for name in names])
    running = [name for name in names if shown[paths.unit_name(name)].get("ActiveState") == "active"]
    due = restarts_due({name: shown[paths.unit_name(name)].get("InvocationID", "") for name in running})
    return [_unit(name, shown[paths.unit_name(name)], due.get(name, False)) for name in names]


def _unit(name: str, facts: dict[str, str], restart_due: bool) -> UnitOfVm:
    restarts = facts.get("NRestarts", "")
    return UnitOfVm(
        vm=name,
        # Between two tries of systemd a VM that fails is neither starting nor stopped.
        state="failed"
        if facts.get("SubState", "").startswith("auto-restart")
        else _STATES.get(facts.get("ActiveState", ""), "unknown"),
        enabled=facts.get("UnitFileState") == "enabled",
        restarts=int(restarts) if restarts.isdecimal() else 0,
        restart_due=restart_due,
        disks=frozenset(_NODE.findall(_text(f"{paths.UNIT_DIRECTORY}/{paths.unit_name(name)}"))),
    )


def _show(units: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return the properties of units, by unit and name."""
    if not units:
        return {}
    command = ["systemctl", "show", f"--property={','.join(_PROPERTIES)}", "--", *units]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SYSTEMCTL_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise HostError(f"systemctl show: no answer within {SYSTEMCTL_SECONDS} s") from None
    if done.returncode:
        raise HostError(f"systemctl show: {done.stderr.strip()}")
    blocks = [dict(line.partition("=")[::2] for line in one.splitlines()) for one in done.stdout.strip().split("\n\n")]
    shown = {block.get("Id", ""): block for block in blocks}
    return {unit: shown.get(unit, {}) for unit in units}


def restarts_due(invocations: Mapping[str, str]) -> dict[str, bool]:
    """Return which running VMs were started from other units or credentials than those that are written now."""
    # Of all VMs at once: the folders of units and drop-ins are listed once then.
    units = {vm: [paths.unit_name(vm)] for vm in invocations}
    for helper in map(os.path.basename, glob.glob(f"{paths.UNIT_DIRECTORY}/qemu-vm-*.*.*.service")):
        units.get(paths.vm_of_unit(helper), []).append(helper)
    written = unit_record.files_of(unit for own in units.values() for unit in own)
    return {
        vm: is_restart_due(
            vm, unit_record.recorded(paths.unit_name(vm), invocation), {unit: written[unit] for unit in units[vm]}
        )
        for vm, invocation in invocations.items()
    }


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read()
    except OSError:
        return ""
