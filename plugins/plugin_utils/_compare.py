# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The comparison of all hosts before anything changes on one: what they answered, and what the inventory declares."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError
from ansible_collections.directdisk.qemu.plugins.plugin_utils import _clashes, _other_hosts, _steps
from ansible_collections.directdisk.qemu.plugins.plugin_utils._other_hosts import HostReport
from ansible_collections.directdisk.qemu.plugins.plugin_utils._survey import Survey, survey_in_parts

_MOST_NAMED = 8


@dataclass(frozen=True)
class Comparison:
    """What must not be, what to know, and which VMs stop before others start."""

    errors: list[DeclarationError] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    stops: Mapping[str, list[str]] = field(default_factory=dict)
    waits: Mapping[str, Any] = field(default_factory=dict)


def registered_results(hostvars: Mapping[str, Any], hosts: Iterable[str]) -> dict[str, Mapping[str, Any]]:
    """The variables of hosts, with the results of their tasks; no template in them is evaluated."""
    # Ansible's own hostvars would template whole variables of a host.
    raw_get = getattr(hostvars, "raw_get", None)
    return {str(host): raw_get(host) if raw_get else hostvars[host] for host in hosts}


def compare(hostvars: Mapping[str, Any], play_hosts: Iterable[str]) -> Comparison:
    """play_hosts: the hosts of the play that have not failed."""
    asked = [str(host) for host in play_hosts]
    reports = _steps.reports_of(registered_results(hostvars, asked))
    warnings = _other_hosts.running_twice(reports)
    if not any(report["starts"] for report in reports.values()):
        return Comparison(warnings=warnings)
    # What is declared on other hosts is of interest only where something starts beside it: reading it all takes time.
    declared = survey_in_parts(hostvars, [str(host) for host in hostvars])
    unasked = [one for one in declared.machines if one.host not in reports]
    decision = _other_hosts.decide(reports, unasked)
    clashes = _clashes.shared_storage(declared, reports)
    known = {clash.where for clash in clashes}
    later = [host for host in declared.hosts if host in asked and host not in reports]
    errors = [error for error in decision.errors if error.where not in known]
    errors += [*clashes, *_asked_later(reports, later)]
    return Comparison(errors, [*warnings, *_not_asked(declared, reports)], decision.stops, decision.waits)


def _asked_later(reports: Mapping[str, HostReport], later: list[str]) -> list[DeclarationError]:
    """With ``serial`` or strategy free, a VM would start before it is known if a host that comes later runs it."""
    return [
        DeclarationError(
            f"{host}: vm {start['name']}",
            f"{_named(later)}: of the same play, and not asked yet if it runs there; have all hosts asked first "
            "(strategy linear, no serial), or leave those hosts out with --limit",
        )
        for host, report in reports.items()
        for start in (report["starts"] if later else ())
        if start["name"] not in {vm["name"] for vm in report["runs"] if vm["runs"]}
    ]


def _named(hosts: list[str]) -> str:
    more = f" and {len(hosts) - _MOST_NAMED} more" if len(hosts) > _MOST_NAMED else ""
    return f"{', '.join(hosts[:_MOST_NAMED])}{more}"


def _not_asked(declared: Survey, reports: Mapping[str, Any]) -> list[str]:
    """One line that names the hosts whose running VMs are not known."""
    hosts = [host for host in declared.hosts if host not in reports]
    if not hosts:
        return []
    return [
        f"not asked which VMs run there: {_named(hosts)} (not in this play or later in it, failed or "
        "unreachable); only their declarations and the storage itself tell if a VM that starts now runs there"
    ]
