# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps of a run over many hosts, and the data that one step passes to the next in its result. No I/O."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._plan.host_state import ObservedHost, ObservedUnit
from ansible_collections.directdisk.qemu.plugins.module_utils._units import paths
from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run.other_hosts import HostReport, StartingVm
from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run.running_vms import RunningVm

STEPS = ("all", "observe", "compare", "stop", "apply")
OBSERVED = "__qemu_vms_run"
"""The variable in which role qemu_vms registers the result of step observe; the next three likewise."""
COMPARED = "__qemu_vms_fleet"
STOPPED_FIRST = "__qemu_vms_stopped"
APPLIED = "__qemu_vms_applied"
REGISTERED = (OBSERVED, COMPARED, STOPPED_FIRST, APPLIED)

_UNKNOWN: ObservedUnit = {
    "active": "inactive",
    "enabled": False,
    "masked": False,
    "reload": False,
    "invocation": "",
    "pid": 0,
    "started_from": None,
    "drop_ins": {},
}


def pack(value: Any) -> str:
    """Return plain data as one short text, so that a result with it stays readable."""
    return base64.b64encode(zlib.compress(json.dumps(value).encode())).decode()


def unpack(text: str) -> Any:
    return json.loads(zlib.decompress(base64.b64decode(text)))


def reports_of(results: Mapping[str, Mapping[str, Any]]) -> dict[str, HostReport]:
    """Return the reports of the hosts that answered, updated by the later steps; results: registered, by host."""
    return {host: _since(result["fleet"], results[host]) for host, result in observed_results(results).items()}


def observed_results(results: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Return the results of step observe of the hosts that answered; results: registered, by host."""
    observed = {host: registered.get(OBSERVED) or {} for host, registered in results.items()}
    return {host: result for host, result in observed.items() if result.get("fleet")}


def is_stopped(vm: str, registered: Mapping[str, Any]) -> bool:
    """Return if a host reports that it has stopped a VM since it was observed; registered: the host's results."""
    report = (registered.get(OBSERVED) or {}).get("fleet") or {}
    return vm in _stopped_since(report, registered)


def _of(report: Mapping[str, Any], registered: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return a later result that belongs to this report; empty if there is none."""
    result = registered.get(name) or {}
    return result if report.get("id") and result.get("of") == report["id"] else {}


def applied_result(report: Mapping[str, Any], registered: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the result of step apply that belongs to this report; empty if there is none."""
    return _of(report, registered, APPLIED)


def _stopped_since(report: Mapping[str, Any], registered: Mapping[str, Any]) -> set[str]:
    stopped = set(_of(report, registered, STOPPED_FIRST).get("stopped") or ())
    applied = _of(report, registered, APPLIED)
    # A run that failed for some VMs has stopped the others, if it got so far that it names them.
    if not applied or (applied.get("failed") and "failures" not in applied):
        return stopped
    return stopped | (set(report["stops"]) - set(applied.get("failures") or ()))


def _since(report: HostReport, registered: Mapping[str, Any]) -> HostReport:
    stopped = _stopped_since(report, registered)
    runs = [vm for vm in report["runs"] if vm["process"] or vm["name"] not in stopped]
    if not _of(report, registered, APPLIED):
        return {**report, "runs": runs}
    # A VM may have been started even if others have failed.
    known = {vm["name"] for vm in runs}
    runs += [_started(start) for start in report["starts"] if start["name"] not in known]
    return {**report, "runs": runs, "starts": [], "stops": []}


def _started(start: StartingVm) -> RunningVm:
    return {
        "name": start["name"],
        "uuid": start["uuid"],
        "declared": True,
        "runs": True,
        "process": "",
        "storage": [disk["use"] for disk in start["disks"]],
    }


def with_stopped(observed: ObservedHost, names: Iterable[str]) -> ObservedHost:
    """Return the observation, updated for VMs that were stopped and disabled since."""
    units = dict(observed["units"])
    for unit in map(paths.unit_name, names):
        units[unit] = {**units.get(unit, _UNKNOWN), "active": "inactive", "enabled": False}
    return {**observed, "units": units}
