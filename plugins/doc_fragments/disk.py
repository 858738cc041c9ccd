# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the options of the modules that keep one disk, made from the tables that its values are read by."""

from __future__ import annotations

import yaml

from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.argument_spec import (
    disk_module_options,
    documentation,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.kinds import KINDS


def _fragment(kind: str) -> str:
    parts = {
        "options": documentation(disk_module_options(KINDS[kind])),
        "requirements": ["root on the host, such as by C(become=true)"],
    }
    return str(yaml.safe_dump(parts, sort_keys=False))


class ModuleDocFragment:
    """Ansible finds the fragments here, as directdisk.qemu.disk.image and so on: one for each kind of image."""

    IMAGE: str = _fragment("image")
    LUN: str = _fragment("lun")
    RBD: str = _fragment("rbd")
