# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The route nbdkit: an nbdkit process with a user of its own serves one disk on a unix socket."""

from __future__ import annotations

from ansible_collections.directdisk.qemu.plugins.module_utils import _paths
from ansible_collections.directdisk.qemu.plugins.module_utils._backend import (
    Backend,
    NbdkitServe,
    Node,
    Reach,
    Values,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._backends import nbd
from ansible_collections.directdisk.qemu.plugins.module_utils._capabilities import Capabilities
from ansible_collections.directdisk.qemu.plugins.module_utils._disk import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError
from ansible_collections.directdisk.qemu.plugins.module_utils._route import Opened, Packages, Route, Site
from ansible_collections.directdisk.qemu.plugins.module_utils._sandbox import build_sandbox
from ansible_collections.directdisk.qemu.plugins.module_utils._service import Service, grant_access
from ansible_collections.directdisk.qemu.plugins.module_utils._wiring import Wiring

PROGRAM = "/usr/bin/nbdkit"
_SPLIT = (
    *("nbdkit-server", "nbdkit-basic-plugins", "nbdkit-curl-plugin", "nbdkit-basic-filters"),
    *("nbdkit-gzip-filter", "nbdkit-tar-filter", "nbdkit-xz-filter"),
)
PACKAGES: Packages = {
    "debian": ("nbdkit",),
    "redhat": _SPLIT,
    "fedora": _SPLIT,
    "suse": _SPLIT,
    "arch": ("nbdkit",),
}


def _packages(backend: Backend, family: str) -> tuple[str, ...]:
    return PACKAGES.get(family, ())


def _serve(backend: Backend) -> NbdkitServe:
    if not backend.nbdkit:
        raise DeclarationError("route", f"nbdkit does not serve {backend.name}")
    return backend.nbdkit


def _why_not(backend: Backend, values: Values, capabilities: Capabilities) -> str:
    plugin = _serve(backend)(values, Wiring("", "probe", ""))
    for part in (plugin.name, *plugin.filters):
        reason = capabilities.nbdkit.get(part, "nbdkit is not installed")
        if reason:
            return f"nbdkit cannot serve {backend.name} ({reason})"
    return ""


def _open(disk: Disk, site: Site) -> Opened:
    unit = _paths.helper_unit_name(site.vm, disk.name, ROUTE.name)
    directory = _paths.helper_directory(site.vm, disk.name)
    socket, pid_file = f"{directory}/nbd.sock", f"{directory}/nbdkit.pid"
    wiring = site.helper_wiring(unit, disk.name)
    reach = disk.backend.reach(disk.source)
    # Into the background once the socket accepts, which is when it is ready.
    argv = command(disk, wiring, socket, f"--pidfile={pid_file}", "--log=syslog")
    before, after = grant_access(unit, _paths.helper_user_name(site.vm, disk.name), [(reach, False)])
    service = Service(
        name=unit,
        template="nbdkit.service.j2",
        vm=site.vm,
        description=f"nbdkit for disk {disk.name} of virtual machine {site.vm}",
        args=[
            ("/usr/bin/python3", "-IS", _paths.SHARE_PROGRAM, socket),
            *((argument,) for argument in argv),
        ],
        sandbox=build_sandbox(
            [(reach, False)], directory=_paths.directory_name(site.vm, disk.name), replace_trust=False
        ),
        pid_file=pid_file,
        credentials=wiring.credentials,
        start_timeout=site.start_timeout,
        before=tuple(before),
        after=tuple(after),
        part=disk.name,
    )
    node: Node = {
        "driver": "nbd",
        "server": {"type": "unix", "path": socket},
        "reconnect-delay": nbd.RECONNECT_DELAY,
    }
    return Opened(node, Reach(), (service,))


def command(disk: Disk, wiring: Wiring, socket: str, *options: str) -> list[str]:
    """The command line that serves a disk on a unix socket, read-only."""
    plugin = _serve(disk.backend)(disk.source, wiring)
    return [
        PROGRAM,
        "--readonly",
        f"--unix={socket}",
        *options,
        *(f"--filter={name}" for name in plugin.filters),
        plugin.name,
        *plugin.parameters,
    ]


ROUTE = Route("nbdkit", _packages, _why_not, _open)
