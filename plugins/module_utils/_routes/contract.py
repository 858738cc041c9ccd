# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The contract of a file under ``_routes/``: how QEMU reaches a disk's bytes on a host. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Callable

from ansible_collections.directdisk.qemu.plugins.module_utils._backends.access import Reach
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.contract import Backend
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.resources import UnitResources
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.values import Node, Values
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._routes.capabilities import Capabilities
from ansible_collections.directdisk.qemu.plugins.module_utils._units import paths
from ansible_collections.directdisk.qemu.plugins.module_utils._units.service import Command, Service

Packages = Mapping[str, tuple[str, ...]]
"""Packages by OS family."""


@dataclass(frozen=True)
class Site:
    """The VM that opens a disk, and the resources of its unit."""

    vm: str
    resources: UnitResources
    start_timeout: int = 0
    capabilities: Capabilities = field(default_factory=Capabilities)

    def helper_resources(self, unit: str, disk: str) -> UnitResources:
        """Return the resources of a helper's unit for the disk."""
        return UnitResources(unit, disk, paths.helper_directory(self.vm, disk))


@dataclass(frozen=True)
class Opened:
    """The way in which QEMU opens a disk by a route."""

    node: Node
    """QEMU's protocol node."""
    reach: Reach
    """The resources that QEMU itself needs."""
    services: tuple[Service, ...] = ()
    """Units that must run before QEMU starts."""
    bound: tuple[tuple[str, str], ...] = ()
    """Files that QEMU sees, read-only, at another path: their path on the host, and the one in the sandbox."""
    asks: tuple[Command, ...] = ()
    """Commands before QEMU that tell why its filter of addresses would block it; QEMU reports a server that is away."""
    unpacks: bool = False
    """If an image is unpacked whole before its first byte can be read, for which QEMU waits."""


@dataclass(frozen=True)
class Route:
    """A way from QEMU to the storage."""

    name: str
    packages: Callable[[Backend, str], tuple[str, ...]]
    """Return the packages that the route to a backend requires on an OS family."""
    why_not: Callable[[Backend, Values, Capabilities], str]
    """Return why the route to a backend does not work on a host; empty if it works."""
    open: Callable[[Disk, Site], Opened]
    grows: bool = True
    """False if an image that is a file does not grow while QEMU has it open by the route."""
    programs: tuple[str, ...] = ()
    """Programs that the probe searches on the host."""
