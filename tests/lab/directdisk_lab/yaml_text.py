# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Enough YAML for an inventory."""

from __future__ import annotations

import json
from typing import Union

Value = Union[str, int, bool, None, "list[Value]", "dict[str, Value]"]


def to_yaml(value: Value, indent: int = 0) -> str:
    """Block style for mappings and lists, JSON for scalars."""
    pad = "  " * indent
    if isinstance(value, dict) and value:
        return "".join(f"{pad}{key}:{_child(child, indent + 1)}" for key, child in value.items())
    if isinstance(value, list) and value:
        return "".join(f"{pad}- {json.dumps(item)}\n" for item in value)
    return f"{pad}{json.dumps(value)}\n"


def _child(value: Value, indent: int) -> str:
    if isinstance(value, (dict, list)) and value:
        return "\n" + to_yaml(value, indent)
    return f" {json.dumps(value)}\n"
