# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the options of a disk, made from the tables that its values are read by."""

from __future__ import annotations

import yaml

from ansible_collections.directdisk.qemu.plugins.module_utils._specs import disk_options, documentation


class ModuleDocFragment:
    """Ansible finds the fragment here, as directdisk.qemu.disk."""

    DOCUMENTATION: str = yaml.safe_dump({"options": documentation(disk_options())}, sort_keys=False)
