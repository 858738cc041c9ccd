#!/usr/bin/python
# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of fleet_summary; the action plugin of the same name does the work, on the controller alone."""

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_summary
short_description: Print what a run has changed, and which VMs need somebody
version_added: 0.1.0
author: directdisk.qemu contributors (@directdisk)
description:
  - Prints one table for all hosts of the play. It has a row for each VM that changed, that failed, that requires a
    restart (with the reasons), whose guest does not run, such as after an I/O error, or that nobody declares. All other
    VMs are a number.
  - At most 40 rows are printed, those that need somebody first. RV(rows) has all of them.
  - It uses what role P(directdisk.qemu.qemu_vms#role) has observed earlier in the same play, and asks no host.
  - Playbook C(directdisk.qemu.site) ends with this task. With C(qemu_vms_serial) it prints a table for each batch of
    hosts.
extends_documentation_fragment: [directdisk.qemu.attributes]
attributes:
  check_mode:
    description: The table says what would change.
    support: full
  diff_mode:
    description: Has no changes to show.
    support: none
seealso:
  - module: directdisk.qemu.qemu_vms
"""

EXAMPLES = r"""
- name: Run the declared VMs
  hosts: hypervisors
  become: true
  gather_facts: false
  tasks:
    - name: Run them
      ansible.builtin.include_role:
        name: directdisk.qemu.qemu_vms

    - name: Print what has changed, and what needs somebody
      directdisk.qemu.fleet_summary:
      run_once: true
"""

RETURN = r"""
rows:
  description: The VMs that changed or need somebody. A host that lacks an answer is a row with an empty RV(ignore:vm).
  returned: always
  type: list
  elements: dict
  sample:
    - host: hv1
      vm: web1
      state: running
      changed: [write unit]
      restart_required: [memory has changed]
      note: ""
      undeclared: false
others:
  description: Number of the other declared VMs, which are as declared.
  returned: always
  type: int
left_out:
  description: Number of the VMs that C(qemu_vms_only) leaves as they are.
  returned: always
  type: int
hosts:
  description: Number of hosts that answered.
  returned: always
  type: int
not_asked:
  description: Number of hosts of the play that were not asked yet.
  returned: always
  type: int
"""
