# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The route driver: QEMU's own block driver opens the storage."""

from __future__ import annotations

from ansible_collections.directdisk.qemu.plugins.module_utils._backends.contract import Backend
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.values import Values
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._routes import stage
from ansible_collections.directdisk.qemu.plugins.module_utils._routes.capabilities import Capabilities
from ansible_collections.directdisk.qemu.plugins.module_utils._routes.contract import Opened, Route, Site


def _packages(backend: Backend, family: str) -> tuple[str, ...]:
    return backend.packages.driver.get(family, ())


def _why_not(backend: Backend, values: Values, capabilities: Capabilities) -> str:
    reason = capabilities.drivers.get(backend.access.driver, "was not probed")
    if reason:
        return f"this QEMU has no {backend.access.driver} driver ({reason})"
    missing = [program for program in backend.packages.programs if not capabilities.programs.get(program)]
    return f"this host has no {missing[0]}" if missing else ""


def _open(disk: Disk, site: Site) -> Opened:
    asks = (stage.ask_command(disk, site.vm, None, any_port=True),) if _may_redirect(disk) else ()
    return Opened(disk.backend.access.node(disk.source, site.resources), stage.reached(disk), asks=asks)


def _may_redirect(disk: Disk) -> bool:
    """Return True if the storage is a web server."""
    return bool(disk.backend.access.stage) and stage.download_of(disk).says


ROUTE = Route("driver", _packages, _why_not, _open)
