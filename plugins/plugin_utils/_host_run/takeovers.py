# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Storage that VMs take from clients of hosts that do not answer: what is refused, and what is taken. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import TypedDict

from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.vm import Vm
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.host_state import ObservedHost
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.owners import questions, why_not_taken
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.storage_owners import StorageOwner, Takeover


class TakeoverReport(TypedDict):
    """Facts about a host for the decision about takeovers."""

    names: list[str]
    """The VMs of this host that take their storage from others."""
    addresses: list[str]
    """The addresses of this host."""
    owners: dict[str, list[StorageOwner]]
    """The owners of storage by its identity."""
    refused: dict[str, dict[str, str]]
    """The reasons why storage cannot be taken, by VM and disk."""


def takeover_report(vms: Iterable[Vm], observed: ObservedHost, names: Collection[str]) -> TakeoverReport:
    """Return the report of a host; names: of the VMs that take their storage, on whichever host."""
    taking = [vm for vm in vms if vm.name in names and vm.state == "started"]
    reasons = {vm.name: {disk.name: why_not_taken(disk, vm) for disk in vm.disks} for vm in taking}
    not_asked = observed["not_asked"]
    for vm in taking:
        for disk in vm.disks:
            if disk.identity in not_asked and not reasons[vm.name][disk.name]:
                reasons[vm.name][disk.name] = f"it is not known who has it open: {not_asked[disk.identity]}"
    return {
        "names": [vm.name for vm in taking],
        "addresses": observed["addresses"],
        "owners": observed["owners"],
        "refused": reasons,
    }


class Takeovers:
    """The takeovers of a run on all hosts that answer."""

    def __init__(self, reports: Mapping[str, TakeoverReport]) -> None:
        self._reports = reports
        self._hosts = {address: host for host, report in reports.items() for address in report["addresses"]}

    def owners(self, host: str, identity: str) -> Sequence[StorageOwner]:
        """Return the owners of storage, as this host was told."""
        return self._reports[host]["owners"].get(identity, ())

    def problems(self, host: str, vm: str, disk: str, identity: str) -> Iterator[str]:
        """Yield why a disk is not taken from its owners; identity: empty if a VM that stops first has it open."""
        reason = self._reports[host]["refused"].get(vm, {}).get(disk, "")
        if reason:
            yield f"cannot be taken over: {reason}"
        for owner in self.owners(host, identity):
            at = host if owner["here"] else self._hosts.get(owner["address"])
            if at:
                # A person who can reach the host can end the client there, and see that it has ended.
                yield f"is {owner['name']}, which is {at}; that host answers, so end the client there"
            elif owner["take"] is None:
                yield f"is {owner['name']}; it cannot be taken from that"


def takeovers_of(
    vms: Iterable[Vm], observed: ObservedHost, takes: Mapping[str, Collection[str]]
) -> dict[str, list[Takeover]]:
    """Return the storage that is taken on a host, by VM; takes: its identities by VM, as decided."""
    asked = questions(vm for vm in vms if vm.name in takes)
    found: dict[str, list[Takeover]] = {}
    for name, some in asked.items():
        for question in some:
            if question["identity"] in takes[name]:
                owners = observed["owners"][question["identity"]]
                described = question["check"]["disk"]
                found.setdefault(name, []).append(
                    {
                        "disk": described,
                        "actions": [f"take over {described}: {owner['action']}" for owner in owners],
                        "question": question,
                        "take": [owner["take"] for owner in owners],
                    }
                )
    return found
