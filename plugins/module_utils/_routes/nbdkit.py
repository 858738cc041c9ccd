# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The route nbdkit: an nbdkit process with a user of its own serves one disk on a unix socket."""

from __future__ import annotations

from ansible_collections.directdisk.qemu.plugins.module_utils._backends import nbd
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.access import NbdkitPlugin, NbdkitServe, Reach
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.contract import Backend
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.resources import UnitResources
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.values import Node, Values
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError
from ansible_collections.directdisk.qemu.plugins.module_utils._routes import stage
from ansible_collections.directdisk.qemu.plugins.module_utils._routes.capabilities import PINS, Capabilities
from ansible_collections.directdisk.qemu.plugins.module_utils._routes.contract import Opened, Packages, Route, Site
from ansible_collections.directdisk.qemu.plugins.module_utils._units import paths
from ansible_collections.directdisk.qemu.plugins.module_utils._units.sandbox import build_sandbox, is_address
from ansible_collections.directdisk.qemu.plugins.module_utils._units.service import (
    Command,
    Service,
    grant_access,
)

PROGRAM = "nbdkit"
PLACES = ("/usr/bin/nbdkit", "/usr/sbin/nbdkit")
"""Debian has it in the first place, Red Hat and its relatives in the second one."""
_SPLIT = (
    *("nbdkit-server", "nbdkit-basic-plugins", "nbdkit-basic-filters"),
    # On Red Hat 10 it is a part of the basic filters, which provide this name.
    *("nbdkit-tar-filter", "nbdkit-xz-filter", "nbdkit-gzip-filter"),
)
PACKAGES: Packages = {"debian": ("nbdkit",), **dict.fromkeys(("redhat", "fedora", "suse"), _SPLIT), "arch": ("nbdkit",)}
_BASIC = "file"
"""The plugin among the basic ones; each other one has a package of its own where nbdkit is split."""


def _packages(backend: Backend, family: str) -> tuple[str, ...]:
    packages = PACKAGES.get(family, ())
    plugins = [name for name in backend.access.nbdkit_plugins[:1] if name != _BASIC and packages == _SPLIT]
    asking = stage.PACKAGES.get(family, ()) if backend.access.stage else ()
    return (*packages, *(f"nbdkit-{name}-plugin" for name in plugins), *asking)


def _serve(backend: Backend) -> NbdkitServe:
    if not backend.access.nbdkit:
        raise DeclarationError("route", f"nbdkit does not serve {backend.name}")
    return backend.access.nbdkit


def _why_not(backend: Backend, values: Values, capabilities: Capabilities) -> str:
    plugin = _serve(backend)(values, UnitResources("", "probe", ""))
    for part in (plugin.name, *plugin.filters):
        reason = capabilities.nbdkit.get(part, "nbdkit is not installed")
        if reason:
            return f"nbdkit cannot serve {backend.name} ({reason})"
    if plugin.pins and not capabilities.programs.get("curl"):
        return "this host has no curl, which asks the server for redirects"
    if plugin.leaks and plugin.pins:
        reason = capabilities.nbdkit.get(PINS, "was not probed")
        return f"{reason}, with the {plugin.leaks}" if reason else ""
    return ""


def _open(disk: Disk, site: Site) -> Opened:
    unit = paths.helper_unit_name(site.vm, disk.name, ROUTE.name)
    directory = paths.helper_directory(site.vm, disk.name)
    socket, pid_file = f"{directory}/nbd.sock", f"{directory}/nbdkit.pid"
    resources = site.helper_resources(unit, disk.name)
    reach = stage.reached(disk)
    plugin = plugin_of(disk, resources)
    # nbdkit goes into the background when its socket accepts connections, so it is ready then. It must not follow
    # redirects if it would send secrets along, or if no filter of addresses limits them.
    pins = site.capabilities.pins and (bool(plugin.leaks) or not all(map(is_address, reach.servers)))
    writable = plugin.writes and disk.writes == "keep"
    options = (f"--pidfile={pid_file}", "--log=syslog")
    argv = [
        site.capabilities.programs.get(PROGRAM, PROGRAM),
        *command(disk, plugin, socket, *options, pins=pins, writable=writable),
    ]
    asks = _asks_for_redirect(disk, site, resources, reach, pins=pins) if plugin.pins else ()
    before, after = grant_access(unit, paths.helper_user_name(site.vm, disk.name), [(reach, False)])
    service = Service(
        name=unit,
        template="nbdkit.service.j2",
        vm=site.vm,
        description=f"nbdkit for disk {disk.name} of virtual machine {site.vm}",
        args=[
            (*paths.PYTHON, paths.SHARE_PROGRAM, socket),
            *((argument,) for argument in argv),
        ],
        sandbox=build_sandbox(
            [(reach, False)], directory=paths.directory_name(site.vm, disk.name), replace_trust=False
        ),
        pid_file=pid_file,
        credentials=resources.credentials,
        start_timeout=site.start_timeout,
        before=(*before, *asks),
        after=tuple(after),
        largest_file=stage.most_of(disk) if plugin.unpacks else 0,
        part=disk.name,
    )
    node: Node = {
        "driver": "nbd",
        "server": {"type": "unix", "path": socket},
        "reconnect-delay": nbd.RECONNECT_DELAY,
    }
    return Opened(node, Reach(), (service,), unpacks=plugin.unpacks)


def _asks_for_redirect(
    disk: Disk, site: Site, resources: UnitResources, reach: Reach, *, pins: bool
) -> tuple[Command, ...]:
    """Return the command that names a redirect which nbdkit cannot follow: it would report none.

    pins: nbdkit follows no redirect; else the filter of addresses lets it follow one to another port.
    """
    follows = bool(disk.provision.get(stage.FOLLOW.name))
    if not (pins or follows or all(map(is_address, reach.servers))):
        return ()
    return (stage.ask_command(disk, site.vm, resources, any_port=follows or not pins),)


def plugin_of(disk: Disk, resources: UnitResources) -> NbdkitPlugin:
    return _serve(disk.backend)(disk.source, resources)


def command(disk: Disk, plugin: NbdkitPlugin, socket: str, *options: str, pins: bool, writable: bool) -> list[str]:
    """Return the arguments with which nbdkit serves a disk on a unix socket.

    pins: do not follow redirects; the body of the redirect is read as the image then.
    """
    follows = bool(disk.provision.get(stage.FOLLOW.name))
    if follows and plugin.leaks:
        raise DeclarationError(
            "follow", f"nbdkit would send the {plugin.leaks} to other servers, too; set route: {stage.ROUTE.name}"
        )
    return [
        *(() if writable else ("--readonly",)),
        f"--unix={socket}",
        *options,
        *(f"--filter={name}" for name in plugin.filters),
        plugin.name,
        *plugin.parameters,
        *(plugin.pins if pins and not follows else ()),
    ]


ROUTE = Route("nbdkit", _packages, _why_not, _open, grows=False, programs=(PROGRAM,))
