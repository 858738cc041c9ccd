# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The contract that a file under ``_routes/`` fills in: how QEMU reaches a disk's bytes on a host. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Callable

from ansible_collections.directdisk.qemu.plugins.module_utils._backends.access import Reach
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.contract import Backend
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.resources import UnitResources
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.values import Node, Values
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._routes.capabilities import Capabilities
from ansible_collections.directdisk.qemu.plugins.module_utils._units import paths
from ansible_collections.directdisk.qemu.plugins.module_utils._units.service import Service

Packages = Mapping[str, tuple[str, ...]]
"""Packages by OS family."""


@dataclass(frozen=True)
class Site:
    """Where a disk is opened: the machine, what its unit is asked for, and how long a start may take."""

    vm: str
    resources: UnitResources
    start_timeout: int = 0
    pins: bool = True
    """Whether this host's nbdkit can be kept from going wherever a web server sends it on to."""

    def helper_wiring(self, unit: str, disk: str) -> UnitResources:
        """What the disk asks of a helper's unit instead."""
        return UnitResources(unit, disk, paths.helper_directory(self.vm, disk))


@dataclass(frozen=True)
class Opened:
    """How QEMU opens a disk by a route."""

    node: Node
    """QEMU's protocol node."""
    reach: Reach
    """What QEMU itself must be able to touch for it."""
    services: tuple[Service, ...] = ()
    """What must run before QEMU starts."""
    bound: tuple[tuple[str, str], ...] = ()
    """Files that QEMU sees, read-only, at another place: where they are, and where it sees them."""


@dataclass(frozen=True)
class Route:
    """A way from QEMU to the storage."""

    name: str
    packages: Callable[[Backend, str], tuple[str, ...]]
    """The packages with which the route to a backend works on an OS family."""
    why_not: Callable[[Backend, Values, Capabilities], str]
    """Why the route to a backend does not work on a host; empty where it does."""
    open: Callable[[Disk, Site], Opened]
    programs: tuple[str, ...] = ()
    """Programs on the host that the probe looks for."""
