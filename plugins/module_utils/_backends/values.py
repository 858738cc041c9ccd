# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Types of the data that travels between a declaration and QEMU."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Node = dict[str, Any]
"""One ``-blockdev`` dict, keys as in QEMU's QAPI schema."""

Values = Mapping[str, Any]
"""The options of one disk after reading: right types, no unknown key, only what was declared."""
