# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""VMs as hosts of an inventory: their variables and groups. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.vm import Vm
from ansible_collections.directdisk.qemu.plugins.plugin_utils._inventory.declared import DeclaredVm, row

Guest = dict[str, Any]
"""The variables of one guest, as plain data without a secret."""


def guest(one: DeclaredVm) -> Guest:
    """Return the variables of a declared VM."""
    vm = one.vm
    return {
        "guest_vm": vm.name,
        "guest_hypervisor": one.host,
        "guest_state": vm.state,
        "guest_status": "",
        "guest_memory": vm.settings["memory"],
        "guest_cpus": vm.settings["cpus"],
        "guest_disks": [row(one, disk) for disk in vm.disks],
        "guest_networks": [
            {"name": network.name, "bridge": network.bridge or None, "mac": network.mac, "model": network.model}
            for network in vm.networks
        ],
        "guest_addresses": _addresses(vm),
        "guest_agent": vm.settings["guest_agent"],
    }


def with_status(declared: Iterable[Guest], running: Mapping[str, Mapping[str, Any]]) -> list[Guest]:
    """Return the guests with their last known states, and those that are not declared."""
    guests = [
        {**one, "guest_status": status(running.get(one["guest_hypervisor"], {}).get(one["guest_vm"]))}
        for one in declared
    ]
    known = {(one["guest_hypervisor"], one["guest_vm"]) for one in guests}
    others = ((host, vm, seen) for host, vms in running.items() for vm, seen in vms.items() if (host, vm) not in known)
    return [*guests, *(_undeclared(host, vm, status(seen)) for host, vm, seen in others if status(seen))]


def status(seen: Any) -> str:
    """Return the state of a VM in QEMU; without one, the state of its unit, if that is active."""
    if not isinstance(seen, Mapping):
        return ""
    active = str(seen.get("active") or "")
    return str(seen.get("status") or ("" if active == "inactive" else active))


def _undeclared(host: str, vm: str, status: str) -> Guest:
    lists: dict[str, Any] = {f"guest_{name}": [] for name in ("disks", "networks", "addresses")}
    known = {"guest_vm": vm, "guest_hypervisor": host, "guest_state": "undeclared", "guest_status": status}
    return {**known, "guest_memory": None, "guest_cpus": None, "guest_agent": False, **lists}


def agent_connection(one: Guest, variables: Iterable[str]) -> Guest:
    """Return the variables by which Ansible reaches a guest through its agent.

    variables: names of the hypervisor's own. Their values are templates, so that secrets stay where they are.
    """
    hypervisor = one["guest_hypervisor"]
    known = {name: f"{{{{ hostvars[{hypervisor!r}][{name!r}] }}}}" for name in variables if name.startswith("ansible_")}
    return {
        "ansible_connection": "directdisk.qemu.guest_agent",
        "ansible_guest_agent_hypervisor": hypervisor,
        "ansible_guest_agent_hypervisor_variables": known,
        "ansible_guest_agent_vm": one["guest_vm"],
    }


def groups(one: Guest, kinds: Iterable[str]) -> Iterator[str]:
    """Yield the names of the groups of a guest, not yet in the form that Ansible requires."""
    disks = one["guest_disks"]
    named = {
        "hypervisor": [f"hypervisor_{one['guest_hypervisor']}"],
        "backend": [f"backend_{disk['backend']}" for disk in disks],
        "pool": [f"pool_{disk['backend']}_{disk['pool']}" for disk in disks],
        "state": [f"state_{one['guest_state']}", *([f"status_{one['guest_status']}"] if one["guest_status"] else [])],
    }
    for kind in kinds:
        yield from dict.fromkeys(named[kind])


def _addresses(vm: Vm) -> list[str]:
    """Return the addresses that cloud-init sets on the guest's interfaces, without prefix lengths."""
    network = json.loads(vm.seed.get("network-config", "{}"))
    network = network.get("network", network)  # netplan's own files have one level more
    interfaces = [
        interface
        for kind in ("ethernets", "bonds", "bridges", "vlans")
        for interface in (network.get(kind) or {}).values()
        if isinstance(interface, Mapping)
    ]
    addresses = (address for interface in interfaces for address in interface.get("addresses") or ())
    return [str(address).partition("/")[0] for address in addresses if isinstance(address, str)]
