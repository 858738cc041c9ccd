# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""JSON as it stands on a command line."""

from __future__ import annotations

import json
from typing import Any


def compact(value: Any) -> str:
    """One line without spaces, keys in the order in which they were made."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
