#!/usr/bin/python
# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of fleet_undeclared; the action plugin of the same name does the work, on the controller alone."""

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_undeclared
short_description: Name the VMs that nobody declares
version_added: 0.1.0
author: directdisk.qemu contributors (@directdisk)
description:
  - Warns, in one line for the whole play, of VMs that run on its hosts or have units there and that no host declares.
  - Warns, in another line, of VMs that run and whose guests do not, such as after an I/O error.
  - It uses what role P(directdisk.qemu.qemu_vms#role) has observed earlier in the same play, and asks no host.
  - Playbook C(directdisk.qemu.site) ends with this task.
extends_documentation_fragment: [directdisk.qemu.attributes]
attributes:
  check_mode:
    description: Changes nothing, so that check mode makes no difference.
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
  gather_facts: false
  tasks:
    - name: Run them
      ansible.builtin.include_role:
        name: directdisk.qemu.qemu_vms

    - name: Name the VMs that nobody declares
      directdisk.qemu.fleet_undeclared:
      run_once: true
"""

RETURN = r"""
msg:
  description: The warnings; empty if every VM is declared and its guest runs.
  returned: always
  type: str
  sample: "VMs without a declaration, left alone: old1 on hv1, old2 on hv2 (stopped)"
"""
