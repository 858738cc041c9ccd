# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reconciles one disk: observe, plan, apply, and observe again."""

from __future__ import annotations

import contextlib
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._access.workbench import Workbench
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.registry import BACKENDS
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.resources import UnitResources
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.values import Node, Values
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.explain import storage_errors
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import (
    DeclarationError,
    HostError,
    MadeMeanwhileError,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._images.contract import (
    DesiredImage,
    ImagePlan,
    Lifecycle,
    ObservedImage,
    Step,
    result_of,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._images.registry import LIFECYCLES
from ansible_collections.directdisk.qemu.plugins.module_utils._options.read import read_options
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.blockdev import build_graph
from ansible_collections.directdisk.qemu.plugins.module_utils._process.locks import locked_disk
from ansible_collections.directdisk.qemu.plugins.module_utils._routes.capabilities import Capabilities
from ansible_collections.directdisk.qemu.plugins.module_utils._routes.contract import Site
from ansible_collections.directdisk.qemu.plugins.module_utils._routes.registry import ROUTES
from ansible_collections.directdisk.qemu.plugins.module_utils._routes.selection import choose_route


def read_desired(disk: Disk, where: str, *, state: str = "present", monitor: str = "", node: str = "") -> DesiredImage:
    """Return the desired state of a disk; raises DeclarationError for what no host can do."""
    lifecycle = lifecycle_of(disk)
    provision = read_options(lifecycle.options, disk.provision, f"{where}: provision")
    desired = DesiredImage(disk, state, provision, monitor, node)
    try:
        lifecycle.check(desired)
    except DeclarationError as error:
        raise error.within(where) from None
    return desired


def lifecycle_of(disk: Disk) -> Lifecycle:
    return LIFECYCLES[disk.backend.lifecycle]


def reconcile(desired: DesiredImage, bench: Workbench, *, check_mode: bool) -> dict[str, Any]:
    """Bring a disk to its desired state; ``before`` and ``after`` in the result are observed, or predicted."""
    reads_only = check_mode or desired.state == "info"
    lock = contextlib.nullcontext() if reads_only else locked_disk(desired.disk, seconds=bench.open_timeout)
    with storage_errors(desired.disk), lock:
        return _reconcile(desired, bench, check_mode=check_mode)


def _reconcile(desired: DesiredImage, bench: Workbench, *, check_mode: bool) -> dict[str, Any]:
    lifecycle = lifecycle_of(desired.disk)
    before = lifecycle.observe(desired, bench)
    image_plan = _plan(desired, before)
    steps, after = list(image_plan.steps), image_plan.after
    if steps and not check_mode:
        steps = _apply(desired, image_plan, bench)
        after = _observe_after(desired, image_plan, bench)
    return {
        "changed": bool(steps),
        "actions": [step.line for step in steps],
        "warnings": list(image_plan.warnings),
        "before": result_of(before),
        "after": result_of(after),
        "state": "present" if after.exists else "absent",
        "size": after.size,
        "format": after.format,
        "blockdev": [] if lifecycle.serves(desired) else node_graph(desired.disk, bench.capabilities),
    }


def _apply(desired: DesiredImage, image_plan: ImagePlan, bench: Workbench) -> list[Step]:
    """Apply the steps, and return those that were done. If another host made the image meanwhile, plan again."""
    lifecycle = lifecycle_of(desired.disk)
    done: list[Step] = []
    for step in image_plan.steps:
        try:
            lifecycle.actions[type(step.change)](desired, step.change, bench)
        except MadeMeanwhileError:
            again = _plan(desired, lifecycle.observe(desired, bench))
            if any(type(other.change) is type(step.change) for other in again.steps):
                raise
            return [*done, *_apply(desired, again, bench)]
        done.append(step)
    return done


def _observe_after(desired: DesiredImage, image_plan: ImagePlan, bench: Workbench) -> ObservedImage:
    """Observe the result; an image that was just made and does not exist was removed by another host."""
    after = lifecycle_of(desired.disk).observe(desired, bench)
    if image_plan.after.exists and not after.exists:
        raise HostError("it was made, and does not exist any more: another host has removed it; run this again")
    return after


def read_place(lifecycle: str, values: Values, where: str) -> Values | None:
    """Return the server whose disks are to be listed; None if the values name a disk."""
    omitted = LIFECYCLES[lifecycle].discover_without
    if not omitted or any(name in values for name in omitted):
        return None
    backend = next(backend for backend in BACKENDS.values() if backend.lifecycle == lifecycle)
    options = [option for option in backend.options if option.name not in omitted]
    place = read_options(options, {o.name: values[o.name] for o in options if o.name in values}, where)
    try:
        backend.source.check(place)
    except DeclarationError as error:
        raise error.within(where) from None
    return place


def discover(lifecycle: str, place: Values | None, bench: Workbench) -> dict[str, Any]:
    """List the disks of a server, in the form of a result."""
    listing = LIFECYCLES[lifecycle].discover
    listed = result_of(listing(place or {}, bench)) if listing else {}
    nothing: dict[str, Any] = {"state": "absent", "size": None, "format": None, "blockdev": []}
    return {"changed": False, "actions": [], "warnings": [], "before": listed, "after": listed, **nothing}


def _plan(desired: DesiredImage, before: ObservedImage) -> ImagePlan:
    if desired.state == "info":
        return ImagePlan(before)
    try:
        return lifecycle_of(desired.disk).plan(desired, before)
    except DeclarationError as error:
        raise error.within(desired.disk.described) from None


def node_graph(disk: Disk, capabilities: Capabilities) -> list[Node]:
    """Return the nodes with which a VM on this host opens the disk; a secret is the id of an object there."""
    route, _warning = choose_route(disk, capabilities)
    resources = UnitResources("", disk.name, "")
    opened = ROUTES[route].open(disk, Site("", resources))
    return list(build_graph(disk, opened.node, resources, "").nodes)
