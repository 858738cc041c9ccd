# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report: the declared fleet compared with the state of its hosts, as plain data without a secret. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.vm import opened_storage
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.changes import RUNNING, STOPPED
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.start_check import starts_paused
from ansible_collections.directdisk.qemu.plugins.plugin_utils._inventory.declared import (
    DeclaredFleet,
    DeclaredVm,
    Row,
    as_declared,
    host_of,
    row,
)
from ansible_collections.directdisk.qemu.plugins.plugin_utils._inventory.guests import status

_PAUSED = {"paused": "paused", "io-error": "I/O error"}
"""Drift of a VM whose guest does not run, by QEMU's status."""
Look = Mapping[str, Any]
"""The registered result of qemu_info on a host, or its failure."""

DRIFT = {
    "not running": "It is declared started. See its journal for the reason; site.yml starts it.",
    "running": "It is declared stopped or absent. site.yml stops it.",
    "not removed": "It is declared absent, but its unit exists. site.yml removes it.",
    "undeclared": "It is not declared. Declare it, or set state: absent.",
    "unmanaged": "It was not started by this collection. adopt.yml declares it.",
    "paused": "Somebody has paused it by its monitor. It runs on with cont, or after a restart.",
    "I/O error": "An I/O error has paused it. It runs on by itself once its storage is back.",
    "starts at boot": "Its host starts it at boot, which is not declared. site.yml corrects that.",
    "not started at boot": "Its host does not start it at boot, which is declared. site.yml corrects that.",
    "restart needed": "It was changed after its start. Restart it, or set restart: when_needed.",
    "other storage": "The unit on the host opens other storage, or writes to read-only storage. site.yml corrects it.",
    "not open": "The VM runs without it. Restart the VM.",
    "other size": "It does not have the declared size. site.yml grows it; if it is larger, declare the real size.",
}
"""Every difference between declaration and host, and what to do about it."""


def report(fleet: DeclaredFleet, looks: Mapping[str, Look]) -> dict[str, Any]:
    """Return tables of hosts, VMs and disks, which refer to each other by their names."""
    declared: dict[str, dict[str, DeclaredVm]] = {host: {} for host in looks}
    for one in fleet.vms:
        declared[one.host][one.vm.name] = one
    unread = set(fleet.unread)
    vms: list[Row] = []
    disks: list[Row] = []
    for host, look in looks.items():
        seen = look.get("vms")
        for name in dict.fromkeys((*declared[host], *(seen or ()))):
            whole = not {(host, ""), (host, name)} & unread
            pair = _Pair(host, name, declared[host].get(name), None if seen is None else seen.get(name, {}), whole)
            if pair.observed or not pair.one or pair.one.present:
                vms.append(_vm(pair))
                disks += _disks(pair)
        for vm in look.get("unmanaged", ()):
            if vm["pid"]:
                vms.append(_unmanaged(host, vm))
                disks += _unmanaged_disks(host, vm)
    return {
        "drift": DRIFT,
        "hosts": [_host(host, look, fleet) for host, look in looks.items()],
        "vms": vms,
        "disks": disks,
    }


@dataclass(frozen=True)
class _Pair:
    """A VM as it is declared, and as its host reports it."""

    host: str
    name: str
    one: DeclaredVm | None
    observed: Mapping[str, Any] | None
    """None if the host does not answer."""
    whole: bool
    """If all of its declaration could be read."""

    @property
    def declared(self) -> str:
        return self.one.vm.state if self.one else "undeclared" if self.whole else "unreadable"


def _host(name: str, look: Look, fleet: DeclaredFleet) -> Row:
    answers = "vms" in look
    message = "" if answers else str(look.get("msg") or "It was not asked.")
    return {
        "host": name,
        "status": "answers" if answers else "unreachable" if look.get("unreachable") else "failed",
        "problem": next(iter(message.splitlines()), ""),
        "errors": [str(error) for error in fleet.errors if host_of(error) == name],
    }


def _vm(pair: _Pair) -> Row:
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


def _unmanaged(host: str, vm: Mapping[str, Any]) -> Row:
    """Return the row of a VM that the collection does not manage."""
    unknown = dict.fromkeys(("memory", "cpus", "enabled"))
    known = {"host": host, "vm": _unmanaged_name(vm), "declared": "undeclared"}
    return {**known, "status": "running", **unknown, "problem": "", "opens": [], "drift": ["unmanaged"]}


def _unmanaged_name(vm: Mapping[str, Any]) -> str:
    # A managed VM may have the same name.
    return f"{vm['name']} (pid {vm['pid']})"


def _unmanaged_disks(host: str, vm: Mapping[str, Any]) -> Iterator[Row]:
    """Yield the disks of an unmanaged VM as adopt.yml would declare them."""
    for one in as_declared(host, vm["name"], vm["declaration"]):
        for disk in one.vm.disks:
            yield {**_declared(one, disk), "vm": _unmanaged_name(vm), **_seen({}), "drift": []}


def _starts_at_boot(one: DeclaredVm) -> bool:
    """Return if the host is to start a VM when it boots."""
    return one.vm.state == "started" and bool(one.vm.settings["autostart"])


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
    elif declared == "started" and observed.get("status") in _PAUSED and pair.one and not starts_paused(pair.one.vm):
        yield _PAUSED[observed["status"]]
    elif pair.one and observed.get("enabled") not in (None, _starts_at_boot(pair.one)):
        yield "starts at boot" if observed["enabled"] else "not started at boot"
    if observed.get("restart_needed"):
        yield "restart needed"


def _disks(pair: _Pair) -> Iterator[Row]:
    """Yield the declared disks of a VM, and those that it has open without a declaration."""
    opened = (pair.observed or {}).get("disks", {})
    declared = {disk.name: (pair.one, disk) for disk in pair.one.vm.disks} if pair.one and pair.one.present else {}
    for name, (one, disk) in declared.items():
        drift = list(_disk_drift(one, disk, pair.observed or {}))
        yield {**_declared(one, disk), **_seen(opened.get(name, {})), "drift": drift}
    for name in opened:
        if name not in declared:
            drift = ["undeclared"] if pair.whole else []
            yield {"host": pair.host, "vm": pair.name, "disk": name, **_seen(opened[name]), "drift": drift}


_DECLARED = ("host", "vm", "disk", "backend", "storage", "pool", "route", "format", "size", "writes", "source")


def _declared(one: DeclaredVm, disk: Disk) -> Row:
    known = row(one, disk)
    return {**{key: known[key] for key in _DECLARED}, "system": _system(one, disk, known["servers"])}


def _seen(seen: Mapping[str, Any]) -> Row:
    return {"actual": seen.get("size"), "io_status": seen.get("io_status", ""), "io": seen.get("io")}


def _disk_drift(one: DeclaredVm, disk: Disk, observed: Mapping[str, Any]) -> Iterator[str]:
    identity, unit = disk.identity, observed.get("opened")
    # A unit of an earlier release does not list the storage that it opens.
    if unit and unit.get(identity) is not opened_storage(one.vm)[identity]:
        yield "other storage"
    seen = observed.get("disks", {}).get(disk.name)
    if observed.get("status") and not seen:
        yield "not open"
    size = disk.settings.get("size")
    if seen and size and seen["size"] != size:
        yield "other size"


def _system(one: DeclaredVm, disk: Disk, servers: Iterable[str]) -> str:
    """Return what stores a disk: the servers of its backend, or the host itself."""
    place = f"on {one.host}" if disk.backend.source.local(disk.source) else ", ".join(sorted(servers))
    return f"{disk.backend.name} {place}".rstrip()
