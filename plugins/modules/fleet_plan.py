#!/usr/bin/python
# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of fleet_plan; the action plugin of the same name does the work, on the controller alone."""

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_plan
short_description: Check the declarations of all hosts without connecting to one
version_added: 0.1.0
author: directdisk.qemu contributors (@directdisk)
description:
  - Reads C(qemu_vms) of all hosts from the inventory, prints the declared disks, and fails with every error in the
    declarations, those included that only show if the declarations of several hosts are compared.
  - Playbook C(directdisk.qemu.plan) runs this task. With C(plan_ask_hosts=true) it asks the hosts first, for
    O(answers).
options:
  hosts:
    description: Names of the hosts whose declarations are read.
    type: list
    elements: str
    required: true
  known_images:
    description:
      - Patterns (as in a shell) of images that exist although no host declares them, such as V(rbd images/*). Without
        it, a C(source) that is not declared anywhere is a warning.
    type: list
    elements: str
    default: []
  query:
    description:
      - JMESPath expression over RV(rows). Its answer is printed instead of the tables. It needs the Python library
        C(jmespath) on the controller.
      - In playbook C(directdisk.qemu.plan), this is the variable C(plan_query).
    type: str
  answers:
    description:
      - Name of the variable in which the hosts have registered the result of M(directdisk.qemu.qemu_info). With it,
        the memory and CPUs of VMs are compared with those of their hosts, and their boards with the releases of QEMU.
    type: str
  strict:
    description: If errors in the declarations fail the task. They are printed, and returned in RV(errors), in any case.
    type: bool
    default: true
extends_documentation_fragment: [directdisk.qemu.attributes]
attributes:
  check_mode:
    description: Changes nothing, so that check mode makes no difference.
    support: full
  diff_mode:
    description: Has no changes to show.
    support: none
seealso:
  - module: directdisk.qemu.fleet_report
  - plugin: directdisk.qemu.fleet_disks
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Check the declarations of the hypervisors
  hosts: localhost
  gather_facts: false
  tasks:
    - name: Check them
      directdisk.qemu.fleet_plan:
        hosts: "{{ groups['hypervisors'] }}"
        known_images: [rbd images/*]
        strict: false
      register: checked

    - name: Print the VMs with a disk in the pool vms
      ansible.builtin.debug:
        msg: "{{ checked.rows | selectattr('pool', 'equalto', 'vms') | map(attribute='vm') | unique }}"
"""

RETURN = r"""
rows:
  description: The declared disks, with the keys of filter P(directdisk.qemu.fleet_disks#filter).
  returned: unless a declaration has a form that cannot be read at all
  type: list
  elements: dict
errors:
  description: What is wrong with the declarations, host by host.
  returned: unless a declaration has a form that cannot be read at all
  type: list
  elements: str
  sample: ["hv2: vm web2: cpus: 0 is less than 1"]
hosts:
  description: Number of hosts that declare VMs.
  returned: always
  type: int
vms:
  description: Number of declared VMs.
  returned: always
  type: int
disks:
  description: Number of declared disks.
  returned: always
  type: int
"""
