#!/usr/bin/python
# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of fleet_report; the action plugin of the same name does the work, on the controller alone."""

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_report
short_description: Write the fleet as one HTML page
version_added: 0.1.0
author: directdisk.qemu contributors (@directdisk)
description:
  - Compares what the hosts answered with what is declared for them, and writes one HTML page that needs no server and
    no network.
  - Playbook C(directdisk.qemu.report) asks the hosts and then runs this task once.
  - The file is left as it is if nothing but the time has changed.
options:
  hosts:
    description: Names of the hosts on the page.
    type: list
    elements: str
    required: true
  answers:
    description:
      - Name of the variable in which each host has registered the result of M(directdisk.qemu.qemu_info). A host
        without it is on the page as one that was not asked.
    type: str
    required: true
  path:
    description: The file, on the controller. A new one has mode 0600.
    type: path
    required: true
extends_documentation_fragment: [directdisk.qemu.attributes]
attributes:
  check_mode:
    description: Reports if the page would change, and writes nothing.
    support: full
  diff_mode:
    description: Shows the rows that change.
    support: full
seealso:
  - module: directdisk.qemu.qemu_info
  - module: directdisk.qemu.fleet_plan
"""

EXAMPLES = r"""
- name: Show the fleet on one page
  hosts: hypervisors
  become: true
  gather_facts: false
  ignore_unreachable: true
  tasks:
    - name: Ask the hosts
      directdisk.qemu.qemu_info:
        capabilities: false
        unmanaged: true
      register: seen
      ignore_errors: true

    - name: Write the page
      directdisk.qemu.fleet_report:
        hosts: "{{ ansible_play_hosts_all }}"
        answers: seen
        path: fleet.html
      run_once: true
"""

RETURN = r"""
path:
  description: The page.
  returned: success
  type: str
hosts:
  description: Number of hosts on the page.
  returned: success
  type: int
vms:
  description: Number of VMs on the page.
  returned: success
  type: int
disks:
  description: Number of disks on the page.
  returned: success
  type: int
drift:
  description: Number of VMs and disks that are not as declared.
  returned: success
  type: int
"""
