# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Inventory: the declared virtual machines as hosts."""

from __future__ import annotations

DOCUMENTATION = r"""
name: guests
short_description: The declared virtual machines as hosts
version_added: 0.1.0
author: directdisk.qemu contributors (@directdisk)
description:
  - Creates a host for every VM that a hypervisor of the inventory declares in its variable C(qemu_vms), and groups
    these guests by hypervisor, backend, pool and state.
  - Hypervisors and their variables come from the inventory sources that are read before this one. Ansible reads the
    sources of a folder in alphabetical order, so a name such as C(zz_guests.yml) is a good one.
  - No host is asked. The state of the VMs is known if a play has put it into Ansible's fact cache
    before, see O(running_fact), and it is as old as that play.
  - A VM with C(state=absent) is not a host. An undeclared VM that runs is one, once the fact cache has it.
  - "Variables of a guest: C(guest_vm), C(guest_hypervisor), C(guest_state) (C(started), C(stopped) or C(undeclared)),
    C(guest_status) (what QEMU said last, such as C(running), or empty), C(guest_memory) in bytes, C(guest_cpus),
    C(guest_disks) (rows as of the filter P(directdisk.qemu.fleet_disks#filter)), C(guest_networks) (C(name), C(bridge),
    C(mac), C(model) of each), C(guest_addresses) (IP addresses in the network configuration of C(cloud_init)),
    C(guest_agent) (if the VM has C(guest_agent=true))."
  - A guest with C(guest_agent) is reached through its hypervisor, see O(connect_by_agent).
  - "Groups: C(guests) for all of them; C(hypervisor_NAME), C(backend_NAME), C(pool_BACKEND_NAME), C(state_NAME), and
    with a fact cache C(status_NAME)."
extends_documentation_fragment:
  - ansible.builtin.constructed
  - ansible.builtin.inventory_cache
options:
  plugin:
    description: Name of this plugin, which marks its configuration.
    type: str
    required: true
    choices: [directdisk.qemu.guests]
  hypervisors:
    description: Groups and hosts of the inventory whose VMs become hosts.
    type: list
    elements: str
    default: [all]
  hostname:
    description:
      - What a guest is called in the inventory. With V(vm), a name that two hypervisors have is refused when
        O(strict), and otherwise belongs to the first of them, with a warning.
    type: str
    choices: [vm, vm.hypervisor]
    default: vm
  group_by:
    description: Groups to make. A large fleet may have as many pools as VMs.
    type: list
    elements: str
    choices: [hypervisor, backend, pool, state]
    default: [hypervisor, backend, pool, state]
  connect_by_agent:
    description:
      - Set the variables of guests that have C(guest_agent) for the connection plugin
        P(directdisk.qemu.guest_agent#connection), with the hypervisor's own connection. Another C(ansible_connection)
        in O(compose) or in variables of the guest overrides it.
    type: bool
    default: true
  running_fact:
    description:
      - Name of the cached fact of a hypervisor that has the value C(vms) of module M(directdisk.qemu.qemu_info).
    type: str
    default: qemu_running
notes:
  - The inventory cache keeps declarations as they were read; a change in C(qemu_vms) shows after O(cache_timeout) or
    with C(--flush-cache). It holds no secret. What the fact cache says is read each time.
  - With O(strict), an error in a declaration is an error of the inventory. Otherwise its VM is left out with a
    warning. Secrets are not needed, so one that is missing is no error.
"""

EXAMPLES = r"""
# inventory/zz_guests.yml, after inventory/hosts.yml and inventory/host_vars/
plugin: directdisk.qemu.guests
hypervisors: [hypervisors]
compose:
  ansible_host: guest_addresses | first
  ansible_user: "'admin'"
groups:
  large: guest_memory > 16 * 1024 ** 3
keyed_groups:
  - key: guest_networks | map(attribute='bridge')
    prefix: bridge

# A play that tells Ansible's fact cache what runs. It needs a fact cache that keeps (such as fact_caching = jsonfile).
# - hosts: hypervisors
#   become: true
#   gather_facts: false
#   tasks:
#     - directdisk.qemu.qemu_info:
#         capabilities: false
#       register: looked
#     - ansible.builtin.set_fact:
#         qemu_running: "{{ looked.vms }}"
#         cacheable: true
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ansible import constants as C
from ansible import template
from ansible.errors import AnsibleParserError
from ansible.inventory.helpers import get_group_vars, sort_groups
from ansible.plugins.inventory import BaseInventoryPlugin, Cacheable, Constructable
from ansible.plugins.loader import cache_loader
from ansible.utils.vars import combine_vars
from ansible.vars.plugins import get_vars_from_inventory_sources

from ansible_collections.directdisk.qemu.plugins.plugin_utils._inventory import guests as inventory_guests
from ansible_collections.directdisk.qemu.plugins.plugin_utils._inventory.declared import read_fleet
from ansible_collections.directdisk.qemu.plugins.plugin_utils._inventory.guests import Guest

_ALL = "guests"


class InventoryModule(BaseInventoryPlugin, Constructable, Cacheable):
    """Guests from declarations."""

    NAME = "directdisk.qemu.guests"

    def __init__(self) -> None:
        super().__init__()
        self._variables: Mapping[str, Mapping[str, Any]] = {}
        self._names: dict[str, list[str]] = {}
        """Names of the variables of hypervisors, by host."""

    def verify_file(self, path: str) -> bool:
        suffixes = (".config", *C.YAML_FILENAME_EXTENSIONS)
        return bool(super().verify_file(path)) and Path(path).suffix in suffixes

    def parse(self, inventory: Any, loader: Any, path: str, cache: bool = True) -> None:
        super().parse(inventory, loader, path, cache)
        self._read_config_data(path)
        # Ansible does this once it has read everything: before, group all may not be one of the hypervisors' groups.
        inventory.reconcile_inventory()
        hypervisors = self._hypervisors()
        declared = self._declared(self.get_cache_key(path), hypervisors, cache)
        guests = inventory_guests.with_status(declared, self._running(hypervisors))
        inventory.add_group(_ALL)
        self._variables = _Variables(inventory, loader)
        for name, guest in self._named(guests, hypervisors):
            self._add(name, guest)

    def _hypervisors(self) -> list[str]:
        """Return the hypervisors in the order of the inventory."""
        chosen: set[str] = set()
        for name in self.get_option("hypervisors"):
            group = self.inventory.groups.get(name)
            if not group and name not in self.inventory.hosts:
                self._complain(f"hypervisors: the inventory has neither a group nor a host {name}")
            chosen.update([host.name for host in group.get_hosts()] if group else [name])
        everybody = "all" in self.get_option("hypervisors")
        return [host for host in self.inventory.hosts if everybody or host in chosen]

    def _declared(self, key: str, hypervisors: list[str], cache: bool) -> list[Guest]:
        """Return the declared guests, from the inventory cache if it is enabled and has them."""
        if not self.get_option("cache"):
            return self._read(hypervisors)
        self.load_cache_plugin()
        if not cache or key not in self._cache:
            self._cache[key] = self._read(hypervisors)
        found: list[Guest] = self._cache[key]
        return found

    def _read(self, hypervisors: list[str]) -> list[Guest]:
        read = read_fleet(_Variables(self.inventory, self.loader), hypervisors)
        for error in read.errors:
            self._complain(str(error))
        return [inventory_guests.guest(one) for one in read.vms if one.present]

    def _running(self, hypervisors: list[str]) -> dict[str, Any]:
        """Return the facts about the VMs of each hypervisor from the fact cache."""
        facts, name = cache_loader.get(C.CACHE_PLUGIN), self.get_option("running_fact")
        known = ((host, facts.get(host).get(name)) for host in hypervisors if facts.contains(host))
        return {host: vms for host, vms in known if isinstance(vms, Mapping)}

    def _named(self, guests: list[Guest], hypervisors: list[str]) -> Iterator[tuple[str, Guest]]:
        """Yield each guest with its name in the inventory."""
        taken = dict.fromkeys(hypervisors, "the host of this name")
        for guest in guests:
            vm, hypervisor = guest["guest_vm"], guest["guest_hypervisor"]
            name = f"{vm}.{hypervisor}" if self.get_option("hostname") == "vm.hypervisor" else vm
            if name in taken:
                self._complain(f"vm {vm} of {hypervisor} has the name of {taken[name]}; set hostname: vm.hypervisor")
                continue
            taken[name] = f"that of {hypervisor}"
            yield name, guest

    def _add(self, name: str, guest: Guest) -> None:
        self.inventory.add_host(name, _ALL)
        for variable, value in guest.items():
            self.inventory.set_variable(name, variable, value)
        if guest["guest_agent"] and self.get_option("connect_by_agent"):
            for variable, value in self._connection(guest["guest_hypervisor"], guest).items():
                self.inventory.set_variable(name, variable, value)
        for group in inventory_guests.groups(guest, self.get_option("group_by")):
            made = self.inventory.add_group(self._sanitize_group_name(group))
            self.inventory.add_child(made, name)
        strict = self.get_option("strict")
        self._set_composite_vars(self.get_option("compose"), guest, name, strict=strict)
        self._add_host_to_composed_groups(self.get_option("groups"), guest, name, strict=strict)
        self._add_host_to_keyed_groups(self.get_option("keyed_groups"), guest, name, strict=strict)

    def _connection(self, hypervisor: str, guest: Guest) -> Guest:
        if hypervisor not in self._names:
            self._names[hypervisor] = sorted(self._variables[hypervisor])
        marked: Guest = _trusted(inventory_guests.agent_connection(guest, self._names[hypervisor]))
        return marked

    def _complain(self, problem: str) -> None:
        if self.get_option("strict"):
            raise AnsibleParserError(problem)
        self.display.warning(f"{self.NAME}: {problem}")


def _trusted(value: Any) -> Any:
    """Mark templates as such: since ansible-core 2.19 a text of a plugin is none otherwise."""
    if isinstance(value, dict):
        return {key: _trusted(inner) for key, inner in value.items()}
    if not hasattr(template, "trust_as_template"):
        return value
    return template.trust_as_template(value)


class _Variables(Mapping[str, Any]):
    """The variables of each host, as far as they are known while the inventory is read."""

    def __init__(self, inventory: Any, loader: Any) -> None:
        self._inventory = inventory
        self._loader = loader

    def __getitem__(self, name: str) -> dict[str, Any]:
        host, sources = self._inventory.hosts[name], self._inventory.processed_sources
        groups = sort_groups(host.get_groups())
        variables = get_group_vars(groups)
        for entities, own in ((groups, {}), ([host], host.get_vars())):
            files = get_vars_from_inventory_sources(self._loader, sources, entities, "all")
            variables = combine_vars(combine_vars(variables, own), files)
        return {**variables, "inventory_hostname": name, "group_names": [group.name for group in groups]}

    def __iter__(self) -> Iterator[str]:
        return iter(self._inventory.hosts)

    def __len__(self) -> int:
        return len(self._inventory.hosts)
