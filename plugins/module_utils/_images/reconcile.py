# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One disk from what is wanted to what was done: look, plan, carry out, look again."""

from __future__ import annotations

import contextlib
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._access.workbench import Workbench
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.contract import Node, Values
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.registry import BACKENDS
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.resources import Wiring
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
)
from ansible_collections.directdisk.qemu.plugins.module_utils._images.registry import LIFECYCLES
from ansible_collections.directdisk.qemu.plugins.module_utils._options.read import read_options
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.blockdev import build_graph
from ansible_collections.directdisk.qemu.plugins.module_utils._process.locks import alone_with
from ansible_collections.directdisk.qemu.plugins.module_utils._routes.capabilities import Capabilities
from ansible_collections.directdisk.qemu.plugins.module_utils._routes.contract import Site
from ansible_collections.directdisk.qemu.plugins.module_utils._routes.registry import ROUTES
from ansible_collections.directdisk.qemu.plugins.module_utils._routes.selection import choose_route


def read_desired(disk: Disk, where: str, *, state: str = "present", monitor: str = "", node: str = "") -> DesiredImage:
    """What a disk should be like; raises DeclarationError for what no host could do."""
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
    """Make a disk as it is wanted; ``before`` and ``after`` in the result are what a look found, or would find."""
    only_looks = check_mode or desired.state == "info"
    turn = contextlib.nullcontext() if only_looks else alone_with(desired.disk, seconds=bench.open_timeout)
    with storage_errors(desired.disk), turn:
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
        "before": _shown(before),
        "after": _shown(after),
        "state": "present" if after["exists"] else "absent",
        "size": after.get("size"),
        "format": after.get("format"),
        "blockdev": [] if lifecycle.serves(desired) else node_graph(desired.disk, bench.capabilities),
    }


def _apply(desired: DesiredImage, image_plan: ImagePlan, bench: Workbench) -> list[Step]:
    """The steps that were done. Where another host made the image meanwhile, what is left to do is planned again."""
    lifecycle = lifecycle_of(desired.disk)
    done: list[Step] = []
    for step in image_plan.steps:
        try:
            lifecycle.verbs[step.verb](desired, step.values, bench)
        except MadeMeanwhileError:
            again = _plan(desired, lifecycle.observe(desired, bench))
            if any(other.verb == step.verb for other in again.steps):
                raise
            return [*done, *_apply(desired, again, bench)]
        done.append(step)
    return done


def _observe_after(desired: DesiredImage, image_plan: ImagePlan, bench: Workbench) -> ObservedImage:
    """What is there now; what was just made and is not there any more was removed by somebody else."""
    after = lifecycle_of(desired.disk).observe(desired, bench)
    if image_plan.after["exists"] and not after["exists"]:
        raise HostError("it was made, and is not there any more: another host has removed it; run this again")
    return after


def read_place(lifecycle: str, values: Values, where: str) -> Values | None:
    """Where to look for disks, if all that is said is where; None where a disk is named."""
    unsaid = LIFECYCLES[lifecycle].discover_without
    if not unsaid or any(name in values for name in unsaid):
        return None
    backend = next(backend for backend in BACKENDS.values() if backend.lifecycle == lifecycle)
    options = [option for option in backend.options if option.name not in unsaid]
    place = read_options(options, {o.name: values[o.name] for o in options if o.name in values}, where)
    try:
        backend.check(place)
    except DeclarationError as error:
        raise error.within(where) from None
    return place


def discover(lifecycle: str, place: Values | None, bench: Workbench) -> dict[str, Any]:
    """What disks a storage has, in the form of a result."""
    look = LIFECYCLES[lifecycle].discover
    found = dict(look(place or {}, bench)) if look else {}
    nothing: dict[str, Any] = {"state": "absent", "size": None, "format": None, "blockdev": []}
    return {"changed": False, "actions": [], "warnings": [], "before": found, "after": found, **nothing}


def _shown(observed: ObservedImage) -> dict[str, Any]:
    """What was found, but for what only the plan needs."""
    return {name: value for name, value in observed.items() if not name.startswith("_") and name != "around"}


def _plan(desired: DesiredImage, before: ObservedImage) -> ImagePlan:
    if desired.state == "info":
        return ImagePlan(before)
    try:
        return lifecycle_of(desired.disk).plan(desired, before)
    except DeclarationError as error:
        raise error.within(desired.disk.described) from None


def node_graph(disk: Disk, capabilities: Capabilities) -> list[Node]:
    """The nodes with which a machine on this host opens the disk; a secret is the id of an object there."""
    route, _warning = choose_route(disk, capabilities)
    wiring = Wiring("", disk.name, "")
    opened = ROUTES[route].open(disk, Site("", wiring))
    return list(build_graph(disk, opened.node, wiring, "").nodes)
