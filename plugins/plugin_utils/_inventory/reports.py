# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report: the declared fleet compared with the state of its hosts, as plain data without a secret. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypedDict

from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.vm import opened_storage
from ansible_collections.directdisk.qemu.plugins.module_utils._host.running import DiskInfo, IoCounters, VmInfo
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.changes import starts_with_host
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.host_size import HostSize
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.start_check import starts_paused
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.vm_states import HALTED, RUNNING, STOPPED
from ansible_collections.directdisk.qemu.plugins.plugin_utils._inventory.declared import (
    DeclaredFleet,
    DeclaredVm,
    as_declared,
    host_of,
    row,
)
from ansible_collections.directdisk.qemu.plugins.plugin_utils._inventory.guests import status


class HostAnswer(TypedDict, total=False):
    """The registered result of qemu_info on a host, or its failure."""

    vms: dict[str, VmInfo]
    host: HostSize
    unmanaged: list[UnmanagedVm]
    msg: str
    unreachable: bool


class UnmanagedVm(TypedDict):
    """A VM that the collection does not manage, as qemu_info returns it."""

    name: str
    pid: int
    declaration: dict[str, Any]


class HostRow(TypedDict):
    """A host on the page."""

    host: str
    status: str
    """answers, failed or unreachable."""
    problem: str
    errors: list[str]
    """Errors in its declarations."""
    memory: int | None
    cpus: int | None


class VmRow(TypedDict):
    """A VM on the page."""

    host: str
    vm: str
    declared: str
    """Its declared state, undeclared or unreadable."""
    status: str
    memory: int | None
    cpus: int | None
    enabled: bool | None
    """If its host starts it at boot."""
    problem: str
    """Reason why its monitor could not be asked."""
    opens: list[str]
    """Storage that it has open without a declaration."""
    drift: list[str]


class _DeclaredColumns(TypedDict, total=False):
    backend: str
    storage: str
    pool: str
    route: str
    format: str
    size: int | None
    writes: str
    source: str | None
    system: str
    """A description of what stores it."""


class DiskRow(_DeclaredColumns):
    """A disk on the page; without the columns of a declaration if it has none."""

    host: str
    vm: str
    disk: str
    actual: int | None
    """Its size in a running VM, in bytes, if QEMU was asked for it."""
    io_status: str
    io: IoCounters | None
    drift: list[str]


class Report(TypedDict):
    """The data of the page."""

    drift: dict[str, str]
    hosts: list[HostRow]
    vms: list[VmRow]
    disks: list[DiskRow]


DRIFT = {
    "not running": "It is declared started. See its journal for the reason; site.yml starts it.",
    "running": "It is declared stopped or absent. site.yml stops it.",
    "not removed": "It is declared absent, but its unit exists. site.yml removes it.",
    "undeclared": "It is not declared. Declare it, or set state: absent.",
    "unmanaged": "It was not started by this collection. adopt.yml declares it.",
    "paused": "Somebody has paused it by its monitor. It runs on with cont, or after a restart.",
    "I/O error": "An I/O error has paused it. It runs on by itself once its storage is back.",
    "internal error": "QEMU cannot run its guest any more. See its journal for the reason, and restart it.",
    "guest panicked": "Its guest's kernel has crashed. Restart it.",
    "watchdog": "Its guest did not answer its watchdog, which has paused it. It runs on with cont, or after a restart.",
    "shut down": "Its guest has shut down, and QEMU was told to stay: leave out -no-shutdown, and restart it.",
    "suspended": "Its guest has suspended itself to memory. It wakes up with system_wakeup, or after a restart.",
    "migrated": "Somebody has migrated it by its monitor, so it may run elsewhere. If it does not, restart it.",
    "starts at boot": "Its host starts it at boot, which is not declared. site.yml corrects that.",
    "not started at boot": "Its host does not start it at boot, which is declared. site.yml corrects that.",
    "restart needed": "It was changed after its start. Restart it, or set restart: when_needed.",
    "other storage": "The unit on the host opens other storage, or writes to read-only storage. site.yml corrects it.",
    "not open": "The VM runs without it. Restart the VM.",
    "other size": "It does not have the declared size. site.yml grows it; if it is larger, declare the real size.",
}
"""Every difference between declaration and host, and what to do about it."""


def report(fleet: DeclaredFleet, answers: Mapping[str, HostAnswer]) -> Report:
    """Return tables of hosts, VMs and disks, which refer to each other by their names."""
    declared: dict[str, dict[str, DeclaredVm]] = {host: {} for host in answers}
    for one in fleet.vms:
        declared[one.host][one.vm.name] = one
    unread = set(fleet.unread)
    by_name: dict[str, list[DeclaredVm]] = {}
    for one in fleet.vms:
        by_name.setdefault(one.vm.name, []).append(one)
    vms: list[VmRow] = []
    disks: list[DiskRow] = []
    for host, answer in answers.items():
        seen = answer.get("vms")
        for name in dict.fromkeys((*declared[host], *(seen or ()))):
            whole = not {(host, ""), (host, name)} & unread
            pair = _Pair(host, name, declared[host].get(name), _observed(seen, name), whole, by_name.get(name, []))
            if pair.observed or not pair.one or pair.one.present:
                vms.append(_vm(pair))
                disks += _disks(pair)
        for vm in answer.get("unmanaged", ()):
            if vm["pid"]:
                vms.append(_unmanaged(host, vm))
                disks += _unmanaged_disks(host, vm)
    return {
        "drift": DRIFT,
        "hosts": [_host(host, answer, fleet) for host, answer in answers.items()],
        "vms": vms,
        "disks": disks,
    }


def _observed(vms: Mapping[str, Mapping[str, Any]] | None, name: str) -> Mapping[str, Any] | None:
    return None if vms is None else vms.get(name, {})


@dataclass(frozen=True)
class _Pair:
    """A VM as it is declared, and as its host reports it."""

    host: str
    name: str
    one: DeclaredVm | None
    observed: Mapping[str, Any] | None
    """A VmInfo, empty if the host has no such VM; None if the host does not answer."""
    whole: bool
    """If all of its declaration could be read."""
    of_name: list[DeclaredVm]
    """The declarations of VMs of this name under all hosts."""

    @property
    def declared(self) -> str:
        return self.one.vm.state if self.one else "undeclared" if self.whole else "unreadable"


def _host(name: str, answer: HostAnswer, fleet: DeclaredFleet) -> HostRow:
    answered = "vms" in answer
    message = "" if answered else str(answer.get("msg") or "It was not asked.")
    return {
        "host": name,
        "status": "answers" if answered else "unreachable" if answer.get("unreachable") else "failed",
        "problem": next(iter(message.splitlines()), ""),
        "errors": [str(error) for error in fleet.errors if host_of(error) == name],
        "memory": answer["host"]["memory"] if "host" in answer else None,
        "cpus": answer["host"]["cpus"] if "host" in answer else None,
    }


def _vm(pair: _Pair) -> VmRow:
    settings = pair.one.vm.settings if pair.one else {}
    observed = pair.observed or {}
    return {
        "host": pair.host,
        "vm": pair.name,
        "declared": pair.declared,
        "status": "unknown" if pair.observed is None else status(observed) or "stopped",
        "memory": settings.get("memory"),
        "cpus": settings.get("cpus"),
        "enabled": observed.get("enabled"),
        "problem": observed.get("error", ""),
        "opens": [] if pair.one else list(observed.get("opened", ())),
        "drift": [] if pair.observed is None else list(_vm_drift(pair, observed)),
    }


def _unmanaged(host: str, vm: UnmanagedVm) -> VmRow:
    """Return the row of a VM that the collection does not manage."""
    return {
        "host": host,
        "vm": _unmanaged_name(vm),
        "declared": "undeclared",
        "status": "running",
        "memory": None,
        "cpus": None,
        "enabled": None,
        "problem": "",
        "opens": [],
        "drift": ["unmanaged"],
    }


def _unmanaged_name(vm: UnmanagedVm) -> str:
    # A managed VM may have the same name.
    return f"{vm['name']} (pid {vm['pid']})"


def _unmanaged_disks(host: str, vm: UnmanagedVm) -> Iterator[DiskRow]:
    """Yield the disks of an unmanaged VM as adopt.yml would declare them."""
    for one in as_declared(host, vm["name"], vm["declaration"]):
        for disk in one.vm.disks:
            yield {**_row(host, _unmanaged_name(vm), disk.name, None, []), **_columns(one, disk)}


def _vm_drift(pair: _Pair, observed: Mapping[str, Any]) -> Iterator[str]:
    declared, active = pair.declared, observed.get("active", "")
    if declared == "undeclared":
        yield "undeclared"
    elif declared == "started" and active not in RUNNING:
        yield "not running"
    elif declared in ("stopped", "absent") and active not in STOPPED:
        yield "running"
    elif declared == "absent":
        yield "not removed"
    elif declared == "started" and observed.get("status") in HALTED and pair.one and not starts_paused(pair.one.vm):
        yield HALTED[observed["status"]]
    elif pair.one and observed.get("enabled") not in (None, starts_with_host(pair.one.vm.settings)):
        yield "starts at boot" if observed["enabled"] else "not started at boot"
    if observed.get("restart_needed"):
        yield "restart needed"


def _disks(pair: _Pair) -> Iterator[DiskRow]:
    """Yield the declared disks of a VM, and those that it has open without a declaration."""
    opened: Mapping[str, DiskInfo] = (pair.observed or {}).get("disks", {})
    declared: dict[str, tuple[DeclaredVm, Disk]] = {}
    if pair.one and pair.one.present:
        declared = {disk.name: (pair.one, disk) for disk in pair.one.vm.disks}
    for name, (one, disk) in declared.items():
        drift = list(_disk_drift(one, disk, pair.observed or {}))
        yield {**_row(pair.host, pair.name, name, opened.get(name), drift), **_columns(one, disk)}
    for name in opened:
        if name not in declared:
            drift = ["undeclared"] if pair.whole else []
            yield {**_row(pair.host, pair.name, name, opened[name], drift), **_columns_of_open(pair, name)}


def _row(host: str, vm: str, disk: str, observed: DiskInfo | None, drift: list[str]) -> DiskRow:
    return {
        "host": host,
        "vm": vm,
        "disk": disk,
        "actual": observed.get("size") if observed else None,
        "io_status": observed["io_status"] if observed else "",
        "io": observed["io"] if observed else None,
        "drift": drift,
    }


def _columns_of_open(pair: _Pair, name: str) -> _DeclaredColumns:
    """Return the columns of a disk that the VM should not have open here, as another host declares it, say."""
    opened = (pair.observed or {}).get("opened") or {}
    for one in pair.of_name:
        for disk in one.vm.disks:
            if disk.name == name and disk.identity in opened:
                return _columns(replace(one, host=pair.host), disk)
    return {}


def _columns(one: DeclaredVm, disk: Disk) -> _DeclaredColumns:
    known = row(one, disk)
    return {
        "backend": known["backend"],
        "storage": known["storage"],
        "pool": known["pool"],
        "route": known["route"],
        "format": known["format"],
        "size": known["size"],
        "writes": known["writes"],
        "source": known["source"],
        "system": _system(one, disk, known["servers"]),
    }


def _disk_drift(one: DeclaredVm, disk: Disk, observed: Mapping[str, Any]) -> Iterator[str]:
    identity, unit = disk.identity, observed.get("opened")
    # A unit of an earlier release does not list the storage that it opens.
    if unit and unit.get(identity) is not opened_storage(one.vm)[identity]:
        yield "other storage"
    seen = observed.get("disks", {}).get(disk.name)
    if observed.get("status") and not seen:
        yield "not open"
    size = disk.settings.get("size")
    if seen and size and seen.get("size", size) != size:
        yield "other size"


def _system(one: DeclaredVm, disk: Disk, servers: Iterable[str]) -> str:
    """Return what stores a disk: the servers of its backend, or the host itself."""
    place = f"on {one.host}" if disk.backend.source.local(disk.source) else ", ".join(sorted(servers))
    return f"{disk.backend.name} {place}".rstrip()
