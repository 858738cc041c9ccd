# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A JSON object on a line, from a process that may be hostile."""

from __future__ import annotations

import json
from typing import Any

_DIGITS = 20
"""Maximum digits of a number: QEMU's have 64 bits, and Python takes minutes for a million digits."""


def read_object(line: bytes) -> dict[str, Any]:
    """Return the object; raise ValueError if it is something else."""
    try:
        value = json.loads(line, parse_int=_whole)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(value, dict):
        raise ValueError("not an object")
    return value


def _whole(digits: str) -> int:
    if len(digits) > _DIGITS:
        raise ValueError("a number that QEMU does not have")
    return int(digits)
