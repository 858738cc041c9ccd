# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packages, programs and Python modules that a host needs for a backend."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Packages:
    """Requirements of a host beside QEMU itself. Packages are listed by OS family."""

    driver: Mapping[str, tuple[str, ...]]
    """Packages of the driver route."""
    programs: tuple[str, ...] = ()
    """Programs that the driver route runs."""
    tgt: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Packages with which tgtd serves this storage."""
    python_modules: tuple[str, ...] = ()
    """The distribution's Python modules that manage the images."""
    python: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Packages of these Python modules."""
