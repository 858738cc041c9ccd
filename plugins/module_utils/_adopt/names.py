# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of disks and networks of a converted VM."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.schema import RESERVED_NAMES


def fitting_name(words: list[str], taken: Mapping[str, Any]) -> str:
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
