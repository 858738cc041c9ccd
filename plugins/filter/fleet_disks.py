# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: the disks of a whole fleet as a flat list."""

from __future__ import annotations

DOCUMENTATION = r"""
name: fleet_disks
short_description: The disks of a whole fleet as a flat list
version_added: 0.1.0
author: directdisk.qemu contributors
description:
  - Turns the variables of all hosts into a list of rows, one a disk, for queries and tables. Only declarations are
    read, in the variable C(qemu_vms) of each host; no host is asked.
  - There is no secret in the result. A disk whose secret is missing has a row all the same, in which the secret is
    named.
  - Fails with every error in every declaration.
positional: _input, hosts
options:
  _input:
    description: The variables of the hosts by their names, as in the variable C(hostvars).
    type: dict
    required: true
  hosts:
    description: Names of the hosts to look at; all without it.
    type: list
    elements: str
notes:
  - Playbook C(directdisk.qemu.plan) prints these rows, and takes a query over them.
"""

EXAMPLES = r"""
# json_query is a filter of the collection community.general.
- name: Name every disk in Ceph that is larger than 100 GiB
  ansible.builtin.debug:
    msg: "{{ hostvars | directdisk.qemu.fleet_disks | community.general.json_query(larger) }}"
  vars:
    larger: "[?backend == 'rbd' && size > `107374182400`].[host, vm, disk]"

- name: Count the disks on each NFS server
  ansible.builtin.debug:
    msg: "{{ item.0 }}: {{ item.1 | length }}"
  loop: >-
    {{ hostvars | directdisk.qemu.fleet_disks | selectattr('backend', 'eq', 'nfs') | groupby('pool') | map('list') }}
"""

RETURN = r"""
_value:
  description:
    - The disks, in the order of hosts, VMs and disks.
    - C(pool) is what the backend keeps images in, that is a pool, a volume, a target, a server or a folder.
      C(identity) is equal for two disks exactly where they are the same storage. C(size) is the declared one in
      bytes, or null. C(source) is what a new image is made from, or null. C(secrets_missing) names options whose
      templates could not be evaluated.
  type: list
  elements: dict
  sample:
    - host: hv1
      vm: web1
      disk: root
      state: started
      backend: rbd
      storage: vms/web1-root
      pool: vms
      identity: rbd::vms/web1-root
      route: auto
      format: raw
      size: 21474836480
      writes: keep
      source: rbd images/debian-13@golden
      servers: [192.0.2.1, 192.0.2.2]
      secrets_missing: []
"""

from collections.abc import Iterable, Mapping
from typing import Any, Callable

from ansible.errors import AnsibleFilterError

from ansible_collections.directdisk.qemu.plugins.plugin_utils._inventory.declared import Row, read_fleet


def fleet_disks(hostvars: Any, hosts: Iterable[str] | None = None) -> list[Row]:
    """Return a row for each declared disk."""
    if not isinstance(hostvars, Mapping):
        raise AnsibleFilterError("fleet_disks: what it is given is not a mapping of host names to variables")
    found = read_fleet(hostvars, hosts)
    if found.errors:
        raise AnsibleFilterError("\n".join(map(str, found.errors)))
    return found.rows()


class FilterModule:
    """The filter plugin."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"fleet_disks": fleet_disks}
