# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One disk from what is wanted to what was done: look, plan, carry out, look again."""

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
    Lifecycle,
    Proposal,
    Seen,
    Step,
    Wanted,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._images.registry import LIFECYCLES
from ansible_collections.directdisk.qemu.plugins.module_utils._options.read import read_options
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.blockdev import build_graph
from ansible_collections.directdisk.qemu.plugins.module_utils._process.locks import locked_disk
from ansible_collections.directdisk.qemu.plugins.module_utils._routes.capabilities import Capabilities
from ansible_collections.directdisk.qemu.plugins.module_utils._routes.contract import Site
from ansible_collections.directdisk.qemu.plugins.module_utils._routes.registry import ROUTES
from ansible_collections.directdisk.qemu.plugins.module_utils._routes.selection import choose_route


def read_wanted(disk: Disk, where: str, *, state: str = "present", monitor: str = "", node: str = "") -> Wanted:
    """What a disk should be like; raises DeclarationError for what no host could do."""
    lifecycle = lifecycle_of(disk)
    provision = read_options(lifecycle.options, disk.provision, f"{where}: provision")
    wanted = Wanted(disk, state, provision, monitor, node)
    try:
        lifecycle.check(wanted)
    except DeclarationError as error:
        raise error.within(where) from None
    return wanted


def lifecycle_of(disk: Disk) -> Lifecycle:
    return LIFECYCLES[disk.backend.lifecycle]


def manage(wanted: Wanted, bench: Workbench, *, check_mode: bool) -> dict[str, Any]:
    """Make a disk as it is wanted; ``before`` and ``after`` in the result are what a look found, or would find."""
    only_looks = check_mode or wanted.state == "info"
    turn = contextlib.nullcontext() if only_looks else locked_disk(wanted.disk, seconds=bench.open_timeout)
    with storage_errors(wanted.disk), turn:
        return _manage(wanted, bench, check_mode=check_mode)


def _manage(wanted: Wanted, bench: Workbench, *, check_mode: bool) -> dict[str, Any]:
    lifecycle = lifecycle_of(wanted.disk)
    before = lifecycle.observe(wanted, bench)
    proposal = _propose(wanted, before)
    steps, after = list(proposal.steps), proposal.after
    if steps and not check_mode:
        steps = _carry_out(wanted, proposal, bench)
        after = _observe_after(wanted, proposal, bench)
    return {
        "changed": bool(steps),
        "actions": [step.line for step in steps],
        "warnings": list(proposal.warnings),
        "before": _told(before),
        "after": _told(after),
        "state": "present" if after["exists"] else "absent",
        "size": after.get("size"),
        "format": after.get("format"),
        "blockdev": [] if lifecycle.serves(wanted) else node_graph(wanted.disk, bench.capabilities),
    }


def _carry_out(wanted: Wanted, proposal: Proposal, bench: Workbench) -> list[Step]:
    """The steps that were done. Where another host made the image meanwhile, what is left to do is planned again."""
    lifecycle = lifecycle_of(wanted.disk)
    done: list[Step] = []
    for step in proposal.steps:
        try:
            lifecycle.verbs[step.verb](wanted, step.values, bench)
        except MadeMeanwhileError:
            again = _propose(wanted, lifecycle.observe(wanted, bench))
            if any(other.verb == step.verb for other in again.steps):
                raise
            return [*done, *_carry_out(wanted, again, bench)]
        done.append(step)
    return done


def _observe_after(wanted: Wanted, proposal: Proposal, bench: Workbench) -> Seen:
    """What is there now; what was just made and is not there any more was removed by somebody else."""
    after = lifecycle_of(wanted.disk).observe(wanted, bench)
    if proposal.after["exists"] and not after["exists"]:
        raise HostError("it was made, and is not there any more: another host has removed it; run this again")
    return after


def read_place(lifecycle: str, values: Values, where: str) -> Values | None:
    """Where to look for disks, if all that is said is where; None where a disk is named."""
    unsaid = LIFECYCLES[lifecycle].survey_without
    if not unsaid or any(name in values for name in unsaid):
        return None
    backend = next(backend for backend in BACKENDS.values() if backend.lifecycle == lifecycle)
    options = [option for option in backend.options if option.name not in unsaid]
    place = read_options(options, {o.name: values[o.name] for o in options if o.name in values}, where)
    try:
        backend.source.check(place)
    except DeclarationError as error:
        raise error.within(where) from None
    return place


def survey(lifecycle: str, place: Values | None, bench: Workbench) -> dict[str, Any]:
    """What disks a storage has, in the form of a result."""
    look = LIFECYCLES[lifecycle].survey
    found = dict(look(place or {}, bench)) if look else {}
    nothing: dict[str, Any] = {"state": "absent", "size": None, "format": None, "blockdev": []}
    return {"changed": False, "actions": [], "warnings": [], "before": found, "after": found, **nothing}


def _told(seen: Seen) -> dict[str, Any]:
    """What was found, but for what only the plan needs."""
    return {name: value for name, value in seen.items() if not name.startswith("_") and name != "around"}


def _propose(wanted: Wanted, before: Seen) -> Proposal:
    if wanted.state == "info":
        return Proposal(before)
    try:
        return lifecycle_of(wanted.disk).plan(wanted, before)
    except DeclarationError as error:
        raise error.within(wanted.disk.described) from None


def node_graph(disk: Disk, capabilities: Capabilities) -> list[Node]:
    """The nodes with which a machine on this host opens the disk; a secret is the id of an object there."""
    route, _warning = choose_route(disk, capabilities)
    resources = UnitResources("", disk.name, "")
    opened = ROUTES[route].open(disk, Site("", resources))
    return list(build_graph(disk, opened.node, resources, "").nodes)
