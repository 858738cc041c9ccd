# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The conflicts between declarations, within a host and between hosts. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from itertools import chain
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._backends.contract import routes_for
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.values import Values
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.identities import doubts
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.schema import DISK_OPTIONS
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.shared_disks import different_downloads
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError
from ansible_collections.directdisk.qemu.plugins.module_utils._options.option import Option
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.plan import tap_name
from ansible_collections.directdisk.qemu.plugins.module_utils._routes.tgt import loopback_address
from ansible_collections.directdisk.qemu.plugins.plugin_utils._inventory.declared import DeclaredFleet, DeclaredVm

_EVERYWHERE = ("", "0.0.0.0", "::", "[::]")

Findings = Iterator[DeclarationError]


def errors(fleet: DeclaredFleet) -> list[DeclarationError]:
    """Return the conflicts that would lose data or keep a VM from starting."""
    checks = (_shared_storage, _different_downloads, _same_addresses, _same_devices, _same_ports, _same_loopbacks)
    return [finding for check in checks for finding in check(fleet)]


def warnings(fleet: DeclaredFleet, known_images: Sequence[str] = ()) -> list[DeclarationError]:
    """Return the conflicts that may be intended; known_images: patterns of sources that exist without a declaration."""
    known = [*_same_names(fleet), *_addresses_elsewhere(fleet), *_empty_secrets(fleet), *_doubtful_storage(fleet)]
    return [*known, *_unknown_sources(fleet, known_images)]


def shared_storage(fleet: DeclaredFleet, hosts: Container[str]) -> list[DeclarationError]:
    """Return errors about storage that two VMs share, at least one of them on one of the hosts."""
    return [_shared(*pair) for pair in _shared_pairs(fleet) if pair[0].host in hosts or pair[2].host in hosts]


def _shared_storage(fleet: DeclaredFleet) -> Findings:
    return (_shared(*pair) for pair in _shared_pairs(fleet))


def _different_downloads(fleet: DeclaredFleet) -> Findings:
    for vms in _by_host(fleet):
        yield from different_downloads((one.where("disk", disk.name), disk) for one in vms for disk in one.vm.disks)


def _shared_pairs(fleet: DeclaredFleet) -> Iterator[tuple[DeclaredVm, Disk, DeclaredVm, Disk]]:
    """Yield pairs of disks that are the same storage, which one VM writes and another one opens."""
    first: dict[str, tuple[DeclaredVm, Disk]] = {}
    writer: dict[str, tuple[DeclaredVm, Disk]] = {}
    with_other_identities = []
    for one, disk in _started_first(fleet):
        identity = one.identity(disk)
        other = first.setdefault(identity, (one, disk)) if disk.writes == "keep" else writer.get(identity)
        if other and other[1] is not disk and not _stands_by(one, other[0]):
            yield one, disk, *other
        first.setdefault(identity, (one, disk))
        if disk.writes == "keep":
            writer.setdefault(identity, (one, disk))
        others = one.alike(disk) - {identity}
        if others:
            with_other_identities.append((one, disk, others))
    for one, disk, others in with_other_identities:
        for alike in sorted(others):
            known = (first if disk.writes == "keep" else writer).get(alike)
            if known and not _stands_by(one, known[0]):
                yield one, disk, *known


def _started_first(fleet: DeclaredFleet) -> Iterable[tuple[DeclaredVm, Disk]]:
    """Return the disks of started VMs first, so that a stopped VM is compared with a running one."""
    return sorted(fleet.disks(), key=lambda one: one[0].vm.state == "stopped")


def _stands_by(one: DeclaredVm, other: DeclaredVm) -> bool:
    """Return if two declarations are of one VM, and at most one of them starts it."""
    stopped = "stopped" in (one.vm.state, other.vm.state)
    return stopped and one.vm.name == other.vm.name and one.host != other.host


def _shared(one: DeclaredVm, disk: Disk, other: DeclaredVm, its: Disk) -> DeclarationError:
    advice = f"; {disk.backend.source.if_different}" if disk.backend.source.if_different else ""
    return DeclarationError(
        one.where("disk", disk.name),
        f"is the same storage as {other.where('disk', its.name)}, and one of them writes to it "
        f"({disk.described}){advice}",
    )


def _doubtful_storage(fleet: DeclaredFleet) -> Findings:
    """Yield disks that may be the same storage: only the hosts can resolve the names in their declarations."""
    disks = (
        (one.where("disk", disk.name), disk)
        for one, disk in fleet.disks()
        if not disk.backend.source.local(disk.source)
    )
    return (DeclarationError(where, doubt) for where, doubt in doubts(disks, {}))


def _unknown_sources(fleet: DeclaredFleet, known_images: Sequence[str]) -> Findings:
    """Yield writable images that are a source and not declared; read-only backends hold images of others."""
    declared = {one.identity(disk) for one, disk in fleet.disks()}
    maybe = {identity for one, disk in fleet.disks() for identity in one.alike(disk)}
    for one, disk in fleet.disks():
        origin = disk.origin
        if not origin or not origin.backend.source.writable:
            continue
        identity = one.identity(origin.image)
        is_declared = identity in declared or identity in maybe or declared & one.alike(origin.image)
        if not is_declared and not any(fnmatchcase(origin.described, pattern) for pattern in known_images):
            yield DeclarationError(
                f"{one.where('disk', disk.name)}: source",
                f"{origin.described} is not declared; if it exists nevertheless, add it to plan_known_images",
            )


def _by_address(fleet: DeclaredFleet) -> dict[str, list[tuple[DeclaredVm, str, str]]]:
    """Return VMs, networks and bridges by the hardware addresses that more than one of them has; started VMs first."""
    users_of: dict[str, list[tuple[DeclaredVm, str, str]]] = defaultdict(list)
    for one in sorted(fleet.vms, key=lambda one: one.vm.state == "stopped"):
        for network in one.vm.networks if one.present else ():
            if network.bridge:  # QEMU's own network lets nobody see the address
                users_of[network.mac].append((one, network.name, network.bridge))
    return {mac: users for mac, users in users_of.items() if len(users) > 1}


def _same_addresses(fleet: DeclaredFleet) -> Findings:
    for mac, users in _by_address(fleet).items():
        first: dict[str, tuple[DeclaredVm, str]] = {}
        for one, network, bridge in users:
            where = one.where("network", network)
            other, its = first.setdefault(bridge, (one, where))
            if its != where and not _stands_by(one, other):
                yield DeclarationError(
                    where,
                    f"has the mac {mac} of {its} on a bridge of the same name, {bridge}; give one of them another mac",
                )


def _addresses_elsewhere(fleet: DeclaredFleet) -> Findings:
    for mac, users in _by_address(fleet).items():
        first: dict[str, tuple[DeclaredVm, str]] = {}
        for one, network, bridge in users:
            where = one.where("network", network)
            if first and bridge not in first:
                (elsewhere, (other, its)), *_more = first.items()
                if not _stands_by(one, other):
                    yield DeclarationError(where, f"has on {bridge} the mac {mac} that {its} has on {elsewhere}")
            first.setdefault(bridge, (one, where))


def _by_host(fleet: DeclaredFleet) -> Iterable[list[DeclaredVm]]:
    by_host: dict[str, list[DeclaredVm]] = defaultdict(list)
    for one in fleet.vms:
        if one.present:
            by_host[one.host].append(one)
    return by_host.values()


def _same_devices(fleet: DeclaredFleet) -> Findings:
    """Yield tap devices of VMs that have the name of a bridge; names of tap devices are unique."""
    for vms in _by_host(fleet):
        networks = [(one, network) for one in vms for network in one.vm.networks if network.bridge]
        bridges = {network.bridge for _one, network in networks}
        for one, network in networks:
            tap = tap_name(one.vm.name, network.name)
            if tap in bridges:
                yield DeclarationError(
                    one.where("network", network.name),
                    f"its tap device would have the name {tap} of a bridge; rename the network",
                )


def _ports(one: DeclaredVm) -> Iterator[tuple[str, str, int, str]]:
    """Yield the ports of the host that a VM listens on: protocol, address, port, and purpose."""
    vnc = one.vm.settings.get("vnc") or {}
    if "port" in vnc:
        yield "tcp", vnc["address"], vnc["port"], f"{one.host}: vm {one.vm.name}: vnc"
    for network in one.vm.networks:
        for forward in network.forward:
            protocol, _colon, rest = forward.partition(":")
            address, _colon, port = rest.partition("-")[0].rpartition(":")
            yield protocol, address, int(port), f"{one.where('network', network.name)}: forward"


def _same_ports(fleet: DeclaredFleet) -> Findings:
    for vms in _by_host(fleet):
        taken: dict[tuple[str, int], list[tuple[str, str]]] = defaultdict(list)
        for protocol, address, port, where in chain.from_iterable(map(_ports, vms)):
            users = taken[protocol, port]
            other = next((its for at, its in users if at == address or {at, address} & set(_EVERYWHERE)), "")
            if other:
                yield DeclarationError(where, f"port {port} ({protocol}) is also that of {other}")
            users.append((address, where))


def _same_loopbacks(fleet: DeclaredFleet) -> Findings:
    """Yield disks whose loopback addresses for tgtd, which are digests of their names, are equal."""
    for vms in _by_host(fleet):
        taken: dict[str, str] = {}
        disks = [(one, disk) for one in vms for disk in one.vm.disks]
        for user, disk in disks:
            if "tgt" not in routes_for(disk.backend, disk.source):
                continue
            where = user.where("disk", disk.name)
            other = taken.setdefault(loopback_address(user.vm.name, disk.name), where)
            if other != where:
                yield DeclarationError(
                    where, f"its tgtd would have the same address as that of {other}; rename the disk"
                )


def _same_names(fleet: DeclaredFleet) -> Findings:
    first: dict[str, str] = {}
    for one in fleet.vms:
        name = one.vm.name
        if one.present and first.setdefault(name, one.host) != one.host:
            yield DeclarationError(
                f"{one.host}: vm {name}",
                f"is also declared on {first[name]}, and both have the same UUID; "
                "to move a VM, set state: absent on the host that it leaves",
            )


def _empty_secrets(fleet: DeclaredFleet) -> Findings:
    for one, disk in fleet.disks():
        where = one.where("disk", disk.name)
        for name in _empty_in(disk):
            yield DeclarationError(f"{where}: {name}", "is empty")
        for name in _empty_in(disk.origin) if disk.origin else ():
            yield DeclarationError(f"{where}: source: {name}", "is empty")


def _empty_in(disk: Disk) -> Iterator[str]:
    yield from (f"{disk.backend.name}: {name}" for name in _empty(disk.backend.options, disk.source))
    yield from _empty(DISK_OPTIONS, disk.settings)


def _empty(options: Iterable[Option], values: Values) -> Iterator[str]:
    for option in options:
        value: Any = values.get(option.name)
        if option.secret and value == "":
            yield option.name
        elif option.options and isinstance(value, dict):
            yield from (f"{option.name}: {name}" for name in _empty(option.options, value))
