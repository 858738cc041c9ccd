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
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.live_media import media_now
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.live_networks import network_changes
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.live_options import drifted_limits
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.live_state import LiveDisk
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.running_parts import parts_of
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.sizes import size_changes
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.undeclared import name_conflicts
from ansible_collections.directdisk.qemu.plugins.module_utils._programs.unit_record import is_drop_in, kept_settings
from ansible_collections.directdisk.qemu.plugins.module_utils._units import paths as unit_paths
from ansible_collections.directdisk.qemu.plugins.module_utils._units.restart_rule import (
    THIS_RUN,
    Files,
    digest,
    restart_reasons,
)

_NOT_ASKED = "its monitor cannot be asked what it can be given ({}); run again once it answers"


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
            reasons.append(_NOT_ASKED.format(process["error"]))
        return LiveChanges(), reasons
    running = running_now(process)
    planned = parts_of(vm["argv"])
    written = {one: _written(one, vm, desired, observed) for one in units if one in started_from}
    live = live_changes(
        running,
        planned,
        vm["fixed"],
        devices=process["devices"],
        broken=incomplete(running, process),
        drifted=drifted_limits(running.disks, process),
        media=media_now(process, running.disks),
        replaced=[disk for disk in vm["disks"] if _has_other_helper(vm["disks"][disk], written, started_from)],
        release=process["release"],
    )
    networks = network_changes(process, running, planned, vm["networks"])
    added = [*(("disk", one) for one in (*live.attach, *live.insert)), *(("network", one) for one in networks.plug)]
    conflicts = name_conflicts(name, running, planned, process, added)
    if conflicts:
        return LiveChanges(conflicts=tuple(conflicts)), []
    # Those of a medium are restarted before it is inserted.
    helpers = {helper for disk in live.insert for helper in vm["disks"][disk]["helpers"]}
    written = {one: files for one, files in written.items() if one not in helpers}
    sizes = size_changes(running.sizes, planned.sizes, process["sizes"])
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
    reasons = [*live.restart, *networks.restart, *sizes.restart, *(_changed(one, unit) for one in changed)]
    live = replace(live, networks=networks, new_password=new_password, sizes=sizes.change)
    live, waiting = _without_waiting(live, vm) if unit in changed else (live, [])
    return live, [*dict.fromkeys(reasons), *waiting]


def _without_waiting(live: LiveChanges, vm: DesiredVm) -> tuple[LiveChanges, list[str]]:
    """Return the changes that need no other unit, and lines about the others.

    The process may lack the families of addresses that its new unit has.
    """
    disks = [disk for disk in live.attach if vm["disks"][disk]["network"]]
    media = [disk for disk in live.insert if vm["disks"][disk]["network"]]
    networks = [one for one in live.networks.plug if not vm["networks"][one]["tap"]]
    now = replace(
        live,
        attach=tuple(disk for disk in live.attach if disk not in disks),
        insert=tuple(disk for disk in live.insert if disk not in media),
        eject=tuple(disk for disk in live.eject if disk not in media),
        networks=replace(live.networks, plug=tuple(one for one in live.networks.plug if one not in networks)),
    )
    waiting = [f"disk {one} is new" for one in disks] + [f"the medium of disk {one} is new" for one in media]
    waiting += [f"network {one} is new" for one in networks]
    return now, [f"{line} and waits for that" for line in waiting]


def _has_other_helper(disk: LiveDisk, written: Files, started_from: Files) -> bool:
    """Return if the unit of one of a disk's helpers has changed since it was started."""
    helpers = {helper: f"{unit_paths.UNIT_DIRECTORY}/{helper}" for helper in disk["helpers"] if helper in written}
    return any(written[helper][path] != started_from[helper].get(path) for helper, path in helpers.items())


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
