# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The reports of the hosts of a run, and the decision which VMs may start although others run elsewhere. Pure.

A VM runs on one host of the fleet. So each host reports which VMs it runs and with which storage, and which VMs it will
start and stop. Reports travel in results of tasks: they are plain data without a secret.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypedDict

from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.identities import Resolved
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.vm import Vm
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.changes import Changes
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.host_state import ObservedHost
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.start_check import starts_paused
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.vm_states import HALTED, RUNNING, STOPPED
from ansible_collections.directdisk.qemu.plugins.module_utils._units import paths
from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run import takeovers
from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run.running_vms import (
    RunningVm,
    StorageUse,
    names_of,
    resolved_in,
    running_vms,
    same_storage,
    storage_use,
)
from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run.takeovers import TakeoverReport
from ansible_collections.directdisk.qemu.plugins.plugin_utils._inventory.declared import DeclaredVm


class StartingDisk(TypedDict):
    """A disk of a VM that will start."""

    name: str
    described: str
    use: StorageUse


class StartingVm(TypedDict):
    """A VM that this run starts or restarts on a host, or that it gives other disks while it runs."""

    name: str
    uuid: str
    runs_on: bool
    """If its disks change while it runs: that is after all that other VMs of the host give back."""
    disks: list[StartingDisk]


class _HostReport(TypedDict):
    """The VMs of one host, for the decision about the others."""

    id: str
    """Identifies this observation: later results name it, so that results of earlier runs are ignored."""
    starts: list[StartingVm]
    stops: list[str]
    runs: list[RunningVm]
    declared: list[str]
    """VMs that are declared and not absent."""
    undeclared: list[str]
    halted: dict[str, str]
    """State in QEMU of each VM whose guest is to run and does not, without those that this run stops or restarts."""
    in_use: dict[str, str]
    """The owners of the storage of VMs that do not run, by the identity of the storage."""


class HostReport(_HostReport, total=False):
    """The VMs of one host, and what a takeover must know; that only if the run has one."""

    takeover: TakeoverReport


def host_report(
    report_id: str,
    vms: Iterable[Vm],
    observed: ObservedHost,
    undeclared: list[str],
    changes: Changes,
    takeover: Collection[str] = (),
) -> HostReport:
    """Return the report of a host on which these changes are due; takeover: VMs that take their storage from others."""
    vms = list(vms)
    live = set(changes.changed_while_running())
    starting = {*changes.start, *changes.restart, *live}
    report: HostReport = {
        "id": report_id,
        "starts": [_starting(vm, resolved_in(observed), runs_on=vm.name in live) for vm in vms if vm.name in starting],
        "stops": list(changes.stop),
        "runs": running_vms(vms, observed),
        "declared": [vm.name for vm in vms if vm.state != "absent"],
        "undeclared": list(undeclared),
        "halted": _halted(vms, observed, {*changes.start, *changes.restart, *changes.stop, *changes.resume}),
        "in_use": dict(observed.get("in_use") or {}),
    }
    if takeover:
        report["takeover"] = takeovers.takeover_report(vms, observed, takeover)
    return report


def _halted(vms: Iterable[Vm], observed: ObservedHost, changing: Collection[str]) -> dict[str, str]:
    guests = {name: process["status"] for name, process in (observed.get("processes") or {}).items()}
    return {
        vm.name: guests[vm.name]
        for vm in vms
        if guests.get(vm.name) in HALTED and vm.name not in changing and not starts_paused(vm)
    }


def predicted_changes(vms: Iterable[Vm], observed: ObservedHost) -> Changes:
    """Return the starts and stops on a host that cannot be planned before packages are installed on it."""
    changes = Changes()
    for vm in vms:
        unit = paths.unit_name(vm.name)
        active = observed["units"][unit]["active"] if unit in observed["units"] else ""
        if vm.state == "started" and active not in RUNNING:
            changes.start.append(vm.name)
        elif vm.state != "started" and active not in STOPPED:
            changes.stop.append(vm.name)
    return changes


def _starting(vm: Vm, names: Resolved, *, runs_on: bool) -> StartingVm:
    disks = [_starting_disk(disk, names) for disk in vm.disks]
    return {"name": vm.name, "uuid": vm.uuid, "runs_on": runs_on, "disks": disks}


def _starting_disk(disk: Disk, names: Resolved) -> StartingDisk:
    return {"name": disk.name, "described": disk.described, "use": storage_use(disk, names)}


@dataclass
class Decision:
    """The decision that follows from the reports of all hosts."""

    errors: list[DeclarationError] = field(default_factory=list)
    stops: dict[str, list[str]] = field(default_factory=dict)
    """The VMs that stop before others start, by host."""
    waits: dict[str, dict[str, dict[str, list[str]]]] = field(default_factory=dict)
    """The VMs that must stop first, by their host, by the host and the VM that starts there."""
    takes: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    """Identities of the storage that VMs take from other clients, by host and VM."""


@dataclass(frozen=True)
class _Place:
    host: str
    vm: RunningVm
    leaves: bool
    given_up: frozenset[str]
    """Identities of storage without which it restarts in this run."""


def decide_starts(reports: Mapping[str, HostReport], declared: Iterable[DeclaredVm] = ()) -> Decision:
    """Decide which VMs may start; declared: the VMs of the hosts that could not be asked what they run."""
    decision = Decision()
    index = _Index(reports)
    unasked = _by_name(declared)
    for host, report in reports.items():
        for start in report["starts"]:
            _decide_start(host, start, index, decision)
            decision.errors.extend(_not_known_to_be_stopped(host, start, unasked.get(start["name"], ())))
            if start["name"] in (report.get("takeover") or {"names": ()})["names"]:
                _decide_takeover(host, start, reports, index, decision)
            else:
                decision.errors.extend(storage_in_use(host, start, report["in_use"], index.leaving))
    decision.errors.extend(_started_twice(reports))
    return decision


def _by_name(declared: Iterable[DeclaredVm]) -> Mapping[str, list[DeclaredVm]]:
    vms: dict[str, list[DeclaredVm]] = defaultdict(list)
    for vm in declared:
        vms[vm.vm.name].append(vm)
    return vms


class _Index:
    """The running VMs of all hosts, by name and by storage."""

    def __init__(self, reports: Mapping[str, HostReport]) -> None:
        self.by_name: dict[str, list[_Place]] = defaultdict(list)
        self.by_identity: dict[str, list[tuple[_Place, StorageUse]]] = defaultdict(list)
        self.leaving: set[str] = set()
        """Identities of the storage that VMs close in this run: they stop, or restart without it."""
        for host, report in reports.items():
            for vm in report["runs"]:
                leaves = not vm["process"] and vm["name"] in report["stops"]
                place = _Place(host, vm, leaves, frozenset(_given_up(vm, report)))
                self.by_name[vm["name"]].append(place)
                for use in vm["storage"]:
                    for identity in names_of(use):
                        self.by_identity[identity].append((place, use))
                    if place.leaves:
                        self.leaving.update(names_of(use))
                self.leaving.update(place.given_up)

    def with_storage(self, use: StorageUse) -> Iterator[_Place]:
        """Yield the VMs that have the same storage open, if either side writes to it."""
        for identity in names_of(use):
            for place, other in self.by_identity.get(identity, ()):
                if (other["writes"] or use["writes"]) and same_storage(use, other):
                    yield place


def _given_up(vm: RunningVm, report: HostReport) -> Iterator[str]:
    """Identities of what a VM has open, and does not open again when it restarts in this run."""
    for start in report["starts"] if not vm["process"] else ():
        if start["name"] == vm["name"]:
            for use in vm["storage"]:
                if not any(same_storage(use, disk["use"]) for disk in start["disks"]):
                    yield from names_of(use)


def _decide_start(host: str, start: StartingVm, index: _Index, decision: Decision) -> None:
    refused: set[tuple[str, str]] = set()
    for where, place in (*_elsewhere(host, start, index), *_still_open(host, start, index)):
        if place.leaves:
            waits = decision.waits.setdefault(host, {}).setdefault(start["name"], {})
            for names in (decision.stops.setdefault(place.host, []), waits.setdefault(place.host, [])):
                names.extend({place.vm["name"]} - set(names))
        elif (place.host, place.vm["name"]) not in refused:
            refused.add((place.host, place.vm["name"]))
            decision.errors.append(DeclarationError(f"{host}: {where}", _problem(host, start, place)))


def _elsewhere(host: str, start: StartingVm, index: _Index) -> Iterator[tuple[str, _Place]]:
    """Yield the VMs on other hosts that are this VM or use its storage, with the subject of the error message."""
    for disk in start["disks"]:
        for place in index.with_storage(disk["use"]) if disk["use"]["shared"] else ():
            if place.host != host:
                yield f"disk {disk['name']} of {start['name']} ({disk['described']})", place
    for place in index.by_name.get(start["name"], ()):
        # Two hosts may declare different VMs of one name. A VM that its host does not declare is the same VM.
        if place.host != host and not place.vm["declared"] and place.vm["uuid"] == start["uuid"]:
            yield f"vm {start['name']}", place


def _still_open(host: str, start: StartingVm, index: _Index) -> Iterator[tuple[str, _Place]]:
    """Yield VMs of this host that still have storage open which is no longer declared for them."""
    restarts = not start["runs_on"] and any(place.host == host for place in index.by_name.get(start["name"], ()))
    for disk in start["disks"]:
        for place in index.with_storage(disk["use"]):
            vm = place.vm
            other = place.host == host and vm["name"] != start["name"] and vm["runs"] and not vm["process"]
            # What restarts does so before others start, but not before others restart.
            if other and not place.leaves and (restarts or not place.given_up.intersection(names_of(disk["use"]))):
                yield f"disk {disk['name']} of {start['name']} ({disk['described']})", place


def _problem(host: str, start: StartingVm, place: _Place) -> str:
    vm, other = place.vm, place.host
    if host == other:
        return (
            f"{vm['name']} still has the same storage open, and one of them writes to it; stop {vm['name']}, or "
            "restart it once its declaration has another disk"
        )
    if vm["process"]:
        return (
            f"{vm['name']} runs on {other} without the collection ({vm['process']}), and is the same VM or has the "
            f"same storage open; stop it on {other} first"
        )
    if vm["name"] == start["name"]:
        known = "" if vm["declared"] else ", which does not declare it"
        now = "runs" if vm["runs"] else "will run from the next boot"
        advice = f"to move it here, declare it state: absent on {other}, or stop it there first"
        return f"{vm['name']} {now} on {other}{known}; {advice}"
    return (
        f"{vm['name']} on {other} has the same storage open, and one of them writes to it; "
        f"declare {vm['name']} state: absent or stopped on {other}, or give {start['name']} on {host} another disk"
    )


def _started_twice(reports: Mapping[str, HostReport]) -> Iterator[DeclarationError]:
    """Yield disks of two VMs that both start now. Only this check knows declarations in the variables of a play."""
    first: dict[str, list[tuple[str, StartingVm, StartingDisk]]] = defaultdict(list)
    for host, start, disk in _shared_disks(reports):
        use = disk["use"]
        others = (other for identity in names_of(use) for other in first[identity])
        for other_host, other, its in others:
            writes = use["writes"] or its["use"]["writes"]
            if other_host != host and writes and same_storage(use, its["use"]):
                yield DeclarationError(
                    f"{host}: disk {disk['name']} of {start['name']}",
                    f"is the same storage as {other_host}: disk {its['name']} of {other['name']}, and one of them "
                    f"writes to it ({disk['described']})",
                )
                break
        for identity in names_of(use):
            first[identity].append((host, start, disk))


def _shared_disks(reports: Mapping[str, HostReport]) -> Iterator[tuple[str, StartingVm, StartingDisk]]:
    return (
        (host, start, disk)
        for host, report in reports.items()
        for start in report["starts"]
        for disk in start["disks"]
        if disk["use"]["shared"]
    )


def _not_known_to_be_stopped(host: str, start: StartingVm, others: Iterable[DeclaredVm]) -> Iterator[DeclarationError]:
    """Yield an error for a VM that may still run on a host which should stop it, and which did not answer."""
    for other in others:
        if other.host != host and other.vm.state in ("absent", "stopped"):
            yield DeclarationError(
                f"{host}: vm {start['name']}",
                f"{other.host} declares it {other.vm.state} and could not be asked if it has stopped there; "
                f"run both hosts together, or remove the declaration from {other.host} once it has stopped",
            )


def storage_in_use(
    host: str, start: StartingVm, in_use: Mapping[str, str], leaving: Collection[str]
) -> Iterator[DeclarationError]:
    """Yield an error for storage that is open, unless its VM stops before this one starts.

    in_use: a description of the owner and what to do, by the identity of the storage.
    """
    for disk in start["disks"]:
        owner = in_use.get(disk["use"]["identity"])
        if owner and disk["use"]["identity"] not in leaving:
            yield DeclarationError(f"{host}: disk {disk['name']} of {start['name']}", f"{disk['described']} {owner}")


def _decide_takeover(
    host: str, start: StartingVm, reports: Mapping[str, HostReport], index: _Index, decision: Decision
) -> None:
    """Take storage from clients of hosts that do not answer; refuse to take it from a VM that a host reports."""
    taken = takeovers.Takeovers({name: one["takeover"] for name, one in reports.items() if "takeover" in one})
    for place in index.by_name.get(start["name"], ()):
        if place.host != host and place.vm["runs"] and not place.leaves:
            problem = f"runs on {place.host}, which answers, so its storage is not taken over; stop it there"
            decision.errors.append(DeclarationError(f"{host}: vm {start['name']}", problem))
    for disk in start["disks"]:
        where = f"{host}: disk {disk['name']} of {start['name']}"
        identity = disk["use"]["identity"]
        problems = taken.problems(host, start["name"], disk["name"], "" if identity in index.leaving else identity)
        decision.errors += [DeclarationError(where, f"{disk['described']} {problem}") for problem in problems]
        if identity not in index.leaving and taken.owners(host, identity):
            decision.takes.setdefault(host, {}).setdefault(start["name"], []).append(identity)


def running_twice(reports: Mapping[str, HostReport]) -> list[str]:
    """Return warnings about VMs that run on two hosts, and storage that is open on two, if neither VM stops."""
    index = _Index(reports)
    warnings: dict[tuple[str, ...], str] = {}
    for places in index.by_name.values():
        _add_twice([place for place in places if place.vm["runs"] and not place.leaves], warnings)
    for uses in index.by_identity.values():
        open_now = [(place, use) for place, use in uses if use["shared"] and place.vm["runs"] and not place.leaves]
        if any(use["writes"] for _place, use in open_now):
            _add_twice([place for place, _use in open_now], warnings, storage=True)
    return list(warnings.values())


def _add_twice(places: list[_Place], warnings: dict[tuple[str, ...], str], *, storage: bool = False) -> None:
    first, others = places[:1], places[1:]
    for one, other in ((one, other) for one in first for other in others if other.host != one.host):
        names = f"{one.vm['name']} on {one.host}", f"{other.vm['name']} on {other.host}"
        same_vm = one.vm["uuid"] == other.vm["uuid"] and not (one.vm["declared"] and other.vm["declared"])
        if storage or same_vm:
            what = "write to the same storage, or are the same VM" if storage else "are the same VM"
            warnings.setdefault(names, f"{' and '.join(names)} {what}, and both run; stop one of them now")
