#!/usr/bin/python
# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One image of a Ceph cluster."""

from __future__ import annotations

DOCUMENTATION = r"""
module: qemu_rbd_disk
short_description: Keep an RBD image of a Ceph cluster
version_added: 0.1.0
author: directdisk.qemu contributors (@directdisk)
description:
  - Looks at the image through QEMU's own drivers, without a mount.
extends_documentation_fragment: [directdisk.qemu.disk.rbd]
attributes:
  check_mode:
    description: Says what would change without changing it.
    support: full
  diff_mode:
    description: Shows what a look at the image finds before and after.
    support: full
"""

EXAMPLES = r"""
- name: Make an image
  directdisk.qemu.qemu_rbd_disk:
    pool: vms
    image: web1-data
    user: qemu
    key: "{{ vault_ceph_key }}"
    monitors: [192.0.2.1, 192.0.2.2, 192.0.2.3]
    size: 100GiB
"""

RETURN = r"""
image:
  description: What a look at the image found.
  returned: success
  type: dict
"""

from ansible_collections.directdisk.qemu.plugins.module_utils._disk_module import run_disk_module


def main() -> None:
    run_disk_module("rbd")


if __name__ == "__main__":
    main()
