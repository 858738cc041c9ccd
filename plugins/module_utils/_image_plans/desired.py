# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads what is desired of an image, plans it, and says how a VM opens it. Pure."""

from __future__ import annotations

from ansible_collections.directdisk.qemu.plugins.module_utils._backends.registry import BACKENDS
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.resources import UnitResources
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.values import Node, Values
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.contract import (
    DesiredImage,
    ImageKind,
    ImagePlan,
    ObservedImage,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._options.read import read_options
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.blockdev import build_graph
from ansible_collections.directdisk.qemu.plugins.module_utils._routes.capabilities import Capabilities
from ansible_collections.directdisk.qemu.plugins.module_utils._routes.contract import Site
from ansible_collections.directdisk.qemu.plugins.module_utils._routes.registry import ROUTES
from ansible_collections.directdisk.qemu.plugins.module_utils._routes.selection import choose_route

_ANY_VM = "VM"
"""The name of a VM that is not known, in results."""


def desired_image(
    kind: ImageKind,
    disk: Disk,
    where: str,
    *,
    state: str = "present",
    monitor: str = "",
    node: str = "",
    closing: str = "",
) -> DesiredImage:
    """Return the desired state of a disk; raises DeclarationError for what no host can do."""
    provision = read_options(kind.options, disk.provision, f"{where}: provision")
    desired = DesiredImage(kind, disk, state, provision, monitor, node, closing)
    try:
        kind.check(desired)
    except DeclarationError as error:
        raise error.within(where) from None
    return desired


def read_place(kind: ImageKind, values: Values, where: str) -> Values | None:
    """Return the server whose disks are to be listed; None if the values name a disk."""
    omitted = kind.discover_without
    if not omitted or any(name in values for name in omitted):
        return None
    backend = next(backend for backend in BACKENDS.values() if backend.image_kind == kind.name)
    options = [option for option in backend.options if option.name not in omitted]
    place = read_options(options, {o.name: values[o.name] for o in options if o.name in values}, where)
    try:
        backend.source.check(place)
    except DeclarationError as error:
        raise error.within(where) from None
    return place


def plan_image(desired: DesiredImage, before: ObservedImage) -> ImagePlan:
    if desired.state == "info":
        return ImagePlan(before)
    try:
        return desired.kind.plan(desired, before)
    except DeclarationError as error:
        raise error.within(desired.disk.described) from None


class _ShownResources(UnitResources):
    """The resources of the unit of a VM that is not known."""

    def credential_path(self, name: str) -> str:
        return f"$CREDENTIALS_DIRECTORY/{name}"


def node_graph(disk: Disk, capabilities: Capabilities) -> list[Node]:
    """Return the nodes with which a VM on this host opens the disk; a secret is the id of an object there.

    Files of its unit have paths that begin with a variable of systemd.exec(5), and VM stands for its name.
    """
    route, _warning = choose_route(disk, capabilities)
    resources = _ShownResources("", disk.name, "$RUNTIME_DIRECTORY")
    opened = ROUTES[route].open(disk, Site(_ANY_VM, resources))
    return list(build_graph(disk, opened.node, resources, "").nodes)
