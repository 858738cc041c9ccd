# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state of a host that must not change between its observation and the changes that were planned from it. Pure."""

from __future__ import annotations

from ansible_collections.directdisk.qemu.plugins.module_utils._plan.changes import (
    is_enabled,
    sha256_of,
    starts_with_host,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.host_state import (
    Baseline,
    DesiredHost,
    ObservedHost,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._units import paths as unit_paths
from ansible_collections.directdisk.qemu.plugins.module_utils._units.restart_rule import digest


def baseline_of(desired: DesiredHost, observed: ObservedHost) -> Baseline:
    """Return what must not change until the plan is applied: the files of these VMs, and which VMs are enabled."""
    units = {vm["unit"] for vm in desired["vms"].values()}
    paths = {path for path in observed["files"] if unit_paths.vm_of_unit(path.rpartition("/")[2]) in desired["vms"]}
    return {
        "files": {path: sha256_of(observed, path) for path in {*desired["files"], *paths}},
        "enabled": {unit: is_enabled(observed, unit) for unit in units},
    }


def changed_since(desired: DesiredHost, observed: ObservedHost) -> list[str]:
    """Return the files and units that another run has changed: they are neither at their baseline nor as desired."""
    before, now = desired["baseline"], baseline_of(desired, observed)
    goal = {path: digest(file["text"]) for path, file in desired["files"].items()}
    files = [
        path
        for path, sha256 in sorted({**dict.fromkeys(before["files"], ""), **now["files"]}.items())
        if sha256 not in (before["files"].get(path, ""), goal.get(path, ""))
    ]
    states = {vm["unit"]: vm for vm in desired["vms"].values() if vm["state"] != "unchanged"}
    units = [
        unit
        for unit, vm in sorted(states.items())
        if now["enabled"][unit] not in (before["enabled"][unit], starts_with_host(vm))
    ]
    return [*files, *units]
