# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One option of a declaration. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Version = tuple[int, int]
"""Major and minor version of QEMU."""


@dataclass(frozen=True)
class Option:
    """One option of a declaration: name, type and meaning; everything else derives from it."""

    name: str
    summary: str
    type: str = "str"  # str, int, bool, float, size (bytes), path (absolute, on the host), hex, list, dict, any
    required: bool = False
    default: Any = None
    choices: tuple[str, ...] = ()
    elements: str = ""
    options: tuple[Option, ...] = ()
    aliases: tuple[str, ...] = ()
    secret: bool = False
    like: str = "x"
    """Of a secret: a text that would do, to check a declaration with before the real one is there."""
    pattern: str = ""
    pattern_help: str = ""
    minimum: int | None = None
    maximum: int | None = None
    qemu: str = ""
    """The QAPI member this option becomes; empty where the backend builds the member itself."""
    since: Version | None = None
    """First QEMU that has the member."""
    choices_since: Mapping[str, Version] = field(default_factory=dict)
    """First QEMU that knows a choice, where that is later."""
    routes: tuple[str, ...] = ()
    """The only routes that honour it; empty where all do."""
