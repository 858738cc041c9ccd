# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One option of a declaration. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Version = tuple[int, int]
"""Major and minor version of QEMU."""


@dataclass(frozen=True, eq=False)  # compared by identity: tables of options are keys of a cache
class Option:
    """An option of a declaration. Argument specs, schemas and documentation derive from it."""

    name: str
    summary: str
    type: str = "str"  # str, int, bool, float, size (bytes), path (absolute, on the host), hex, list, dict, any
    required: bool = False
    default: Any = None
    choices: tuple[str, ...] = ()
    elements: str = ""
    holds: str = ""
    """The content of an option of type any, in words, which its own reader checks."""
    options: tuple[Option, ...] = ()
    aliases: tuple[str, ...] = ()
    secret: bool = False
    like: str = "x"
    """A valid placeholder for a secret, to check a declaration before the secret is known."""
    pattern: str = ""
    pattern_help: str = ""
    minimum: int | None = None
    maximum: int | None = None
    qemu: str = ""
    """The QAPI member for this option; empty if the backend builds the member itself."""
    since: Version | None = None
    """The first QEMU release with the member."""
    choices_since: Mapping[str, Version] = field(default_factory=dict)
    """The first QEMU release with a choice, if that is later."""
    routes: tuple[str, ...] = ()
    """The only routes that support it; empty if all do."""
