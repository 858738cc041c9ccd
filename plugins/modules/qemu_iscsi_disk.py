#!/usr/bin/python
# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One LUN of an iSCSI target."""

from __future__ import annotations

DOCUMENTATION = r"""
module: qemu_iscsi_disk
short_description: Keep a LUN of an iSCSI target
version_added: 0.1.0
author: directdisk.qemu contributors (@directdisk)
description:
  - Looks.
extends_documentation_fragment: [directdisk.qemu.disk.lun]
attributes:
  check_mode:
    description: Says what would change without changing it.
    support: full
  diff_mode:
    description: Shows what a look at the LUN finds before and after.
    support: full
"""

EXAMPLES = r"""
"""

RETURN = r"""
"""

from ansible_collections.directdisk.qemu.plugins.module_utils._disk_module import run_disk_module


def main() -> None:
    run_disk_module("lun")


if __name__ == "__main__":
    main()
