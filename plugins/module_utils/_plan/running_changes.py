# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The changes of a running VM, from its process, the files that it was started from, and the desired state. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from ansible_collections.directdisk.qemu.plugins.module_utils._plan.host_state import (
    DesiredHost,
    DesiredVm,
    ObservedHost,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.live import (
    LiveChanges,
    incomplete,
    live_changes,
    running_now,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.live_networks import network_changes
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.live_options import drifted_limits
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.running_parts import parts_of
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.sizes import size_changes
from ansible_collections.directdisk.qemu.plugins.module_utils._programs.unit_record import is_drop_in, kept_settings
from ansible_collections.directdisk.qemu.plugins.module_utils._units import paths as unit_paths
from ansible_collections.directdisk.qemu.plugins.module_utils._units.restart_rule import (
    THIS_RUN,
    digest,
    restart_reasons,
)


def running_changes(name: str, desired: DesiredHost, observed: ObservedHost) -> tuple[LiveChanges, list[str]]:
    """Return what changes in a VM while it runs, and the reasons why it must be restarted for the rest."""
    vm = desired["vms"][name]
    unit = vm["unit"]
    units = [helper for helper in vm["units"] if helper not in vm["reloaded"]]
    process = observed["processes"].get(name)
    started_from = observed["units"][unit]["started_from"]
    if not process or process["error"] or not started_from or unit not in started_from:
        reasons = file_reasons(unit, units, vm, desired, observed)
        if reasons and process and process["error"]:
            reasons.append(f"its monitor cannot be asked what it can be given: {process['error']}")
        return LiveChanges(), reasons
    running = running_now(process)
    planned = parts_of(vm["argv"])
    live = live_changes(
        running,
        planned,
        vm["fixed"],
        broken=incomplete(running, process),
        drifted=drifted_limits(running.disks, process),
        release=process["release"],
    )
    networks = network_changes(process, running, planned, vm["networks"])
    sizes = size_changes(running.sizes, planned.sizes, process["sizes"])
    written = {one: _written(one, vm, desired, observed) for one in units if one in started_from}
    kept = kept_settings(unit, desired["files"][f"{unit_paths.UNIT_DIRECTORY}/{unit}"]["text"])
    # The unit's text itself does not count, but what its process has of it.
    written[unit] = {
        name: version
        for name, version in {**written[unit], **kept}.items()
        if (name in started_from[unit] or is_drop_in(name)) and name != f"{unit_paths.UNIT_DIRECTORY}/{unit}"
    }
    password = vm["screen_password"]
    # Only a screen that has a password since its start can be given another one.
    new_password = password in written[unit] and written[unit].pop(password) != started_from[unit][password]
    changed = [one for one in units if one in written and restart_reasons(started_from, {one: written[one]})]
    # The process may lack the families of addresses that its new unit has.
    waiting = [f"disk {disk}" for disk in live.attach if unit in changed and vm["disks"][disk]["network"]]
    waiting += [f"network {one}" for one in networks.plug if unit in changed and not vm["networks"][one]["tap"]]
    live = replace(
        live,
        attach=tuple(disk for disk in live.attach if f"disk {disk}" not in waiting),
        networks=replace(networks, plug=tuple(one for one in networks.plug if f"network {one}" not in waiting)),
        new_password=new_password,
        sizes=sizes.change,
    )
    reasons = [*live.restart, *networks.restart, *sizes.restart, *(_changed(one, unit) for one in changed)]
    return live, [*dict.fromkeys(reasons), *(f"{one} is new and waits for that" for one in waiting)]


def _changed(one: str, launch_unit: str) -> str:
    return "settings of its unit have changed" if one == launch_unit else f"{one} has changed"


def file_reasons(
    unit: str, sources: Iterable[str], vm: DesiredVm, desired: DesiredHost, observed: ObservedHost
) -> list[str]:
    """Return how the files of some units that this run leaves differ from those that a unit was started from."""
    started_from = observed["units"][unit]["started_from"] if unit in observed["units"] else None
    return restart_reasons(started_from, {source: _written(source, vm, desired, observed) for source in sources})


def _written(unit: str, vm: DesiredVm, desired: DesiredHost, observed: ObservedHost) -> dict[str, str]:
    """Return the versions of the files of a unit after this run."""
    path = f"{unit_paths.UNIT_DIRECTORY}/{unit}"
    versions = dict(observed["units"][unit]["drop_ins"]) if unit in observed["units"] else {}
    versions[path] = digest(desired["files"][path]["text"])
    for credential in vm["credentials"][unit]:
        kept = is_current(observed, credential)
        versions[credential] = observed["credentials"][credential]["version"] if kept else THIS_RUN
    return versions


def is_current(observed: ObservedHost, path: str) -> bool:
    """Return if a credential at rest has the declared text."""
    return path in observed["credentials"] and observed["credentials"][path]["current"]
