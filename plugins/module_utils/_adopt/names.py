# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of disks and networks of a converted VM."""

from __future__ import annotations

import re
from collections.abc import Container, Mapping
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.graph import ConvertedDisk
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.schema import RESERVED_NAMES


def disk_name(words: list[str], disk: ConvertedDisk, others: Mapping[str, Any]) -> str:
    """Return the name of a disk; leave out a serial number that another disk has: by default, its name is one."""
    serials = {str(other.get("serial") or name) for name, other in others.items()}
    if disk.declared.get("serial") in serials:
        disk.left.append(f"serial={disk.declared.pop('serial')}: not declared, because another disk has it, too")
    return fitting_name(words, {*others, *(() if "serial" in disk.declared else serials)})


def fitting_name(words: list[str], taken: Container[str]) -> str:
    """Return the first usable name, shortened and numbered if necessary."""
    for word in words:
        name = re.sub("[^A-Za-z0-9_-]+", "-", re.sub("^drive-", "", word)).strip("-")[:16]
        if re.match("[A-Za-z]", name) and name not in RESERVED_NAMES:
            break
    number = 1
    unique = name
    while unique in taken:
        number += 1
        unique = f"{name[: 16 - len(str(number))]}{number}"
    return unique
