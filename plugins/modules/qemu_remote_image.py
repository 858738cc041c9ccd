#!/usr/bin/python
# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One image on a server or on the host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: qemu_remote_image
short_description: Keep a disk image on a server or on the host
version_added: 0.1.0
author: directdisk.qemu contributors (@directdisk)
description:
  - Looks at the image through QEMU's own drivers, without a mount.
extends_documentation_fragment: [directdisk.qemu.disk.image]
attributes:
  check_mode:
    description: Says what would change without changing it.
    support: full
  diff_mode:
    description: Shows what a look at the image finds before and after.
    support: full
"""

EXAMPLES = r"""
- name: Make an image on an NFS server
  directdisk.qemu.qemu_remote_image:
    nfs: {host: 192.0.2.7, path: /export/scratch.qcow2}
    format: qcow2
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
    run_disk_module("image")


if __name__ == "__main__":
    main()
