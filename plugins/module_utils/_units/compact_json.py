# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""JSON for command lines."""

from __future__ import annotations

import json
from typing import Any


def compact(value: Any) -> str:
    """Return JSON on one line without spaces, with the keys in their order of insertion."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
