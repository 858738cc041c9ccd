# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The comparison of the answers of all hosts and their declarations, before anything changes on one of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError
from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run import other_hosts, steps
from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run.other_hosts import HostReport
from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run.scope import named, unmatched_everywhere
from ansible_collections.directdisk.qemu.plugins.plugin_utils._inventory import conflicts
from ansible_collections.directdisk.qemu.plugins.plugin_utils._inventory.declared import (
    DeclaredFleet,
    read_fleet_in_parallel,
)
from ansible_collections.directdisk.qemu.plugins.plugin_utils._inventory.parallel import collection_paused
from ansible_collections.directdisk.qemu.plugins.plugin_utils._inventory.registered import registered_results


@dataclass(frozen=True)
class Comparison:
    """The errors and warnings about all hosts, and the VMs that stop before others start."""

    errors: list[DeclarationError] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    stops: Mapping[str, list[str]] = field(default_factory=dict)
    waits: Mapping[str, Mapping[str, Mapping[str, Sequence[str]]]] = field(default_factory=dict)
    takes: Mapping[str, Mapping[str, Sequence[str]]] = field(default_factory=dict)


@collection_paused()
def compare(hostvars: Mapping[str, Any], play_hosts: Iterable[str]) -> Comparison:
    """Compare all hosts; play_hosts: the hosts of the play that have not failed."""
    asked = [str(host) for host in play_hosts]
    registered = registered_results(hostvars, asked, steps.REGISTERED)
    reports = steps.reports_of(registered)
    unmatched = [] if set(asked) - set(reports) else unmatched_everywhere(steps.observed_results(registered))
    if unmatched:
        return Comparison(list(unmatched))
    warnings = other_hosts.running_twice(reports)
    if not any(report["starts"] for report in reports.values()):
        return Comparison(warnings=warnings)
    # Reading all declarations takes time and is necessary only if a VM starts.
    declared = read_fleet_in_parallel(hostvars, [str(host) for host in hostvars])
    unasked = [one for one in declared.vms if one.host not in reports]
    decision = other_hosts.decide_starts(reports, unasked)
    shared = conflicts.shared_storage(declared, reports)
    known = {error.where for error in shared}
    later = [host for host in declared.hosts if host in asked and host not in reports]
    errors = [error for error in decision.errors if error.where not in known]
    errors += [*shared, *_asked_later(reports, later)]
    warnings = [*warnings, *_not_asked(declared, reports)]
    return Comparison(errors, warnings, decision.stops, decision.waits, decision.takes)


def waiting_for_stops(
    hostvars: Mapping[str, Any], waits: Mapping[str, Mapping[str, Sequence[str]]]
) -> dict[str, list[str]]:
    """Return the VMs that cannot start because a VM on another host has not stopped, with the reasons.

    waits: by the VM that starts, the VMs that must stop first, by their host.
    """
    others = {other for stops in waits.values() for other in stops}
    results = registered_results(hostvars, others, steps.REGISTERED)
    refused: dict[str, list[str]] = {}
    for name, stops in waits.items():
        lines = [
            f"vm {name}: is not started: {other} has not stopped {vm}; see the result of {other}"
            for other, vms in stops.items()
            for vm in vms
            if not steps.is_stopped(vm, results.get(other) or {})
        ]
        if lines:
            refused[name] = lines
    return refused


def _asked_later(reports: Mapping[str, HostReport], later: list[str]) -> list[DeclarationError]:
    """Refuse starts while a host of a later batch, or of strategy free, may still run the VM."""
    return [
        DeclarationError(
            f"{host}: vm {start['name']}",
            f"{named(later)}: of the same play, and not asked yet if it runs there; have all hosts asked first "
            "(strategy linear, no serial), or leave those hosts out with --limit",
        )
        for host, report in reports.items()
        for start in (report["starts"] if later else ())
        if start["name"] not in {vm["name"] for vm in report["runs"] if vm["runs"]}
    ]


def _not_asked(declared: DeclaredFleet, reports: Mapping[str, HostReport]) -> list[str]:
    """Return one line that names the hosts whose running VMs are not known."""
    hosts = [host for host in declared.hosts if host not in reports]
    if not hosts:
        return []
    return [
        f"not asked which VMs run there: {named(hosts)} (not in this play or later in it, failed or "
        "unreachable); only their declarations and the storage itself show if a VM that starts now runs there"
    ]
