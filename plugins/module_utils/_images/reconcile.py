# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reconciles one disk: observe, plan, apply, and observe again."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any, TypedDict

from ansible_collections.directdisk.qemu.plugins.module_utils._access.workbench import Workbench
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.values import Node, Values
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.explain import storage_errors
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import (
    HostError,
    MadeMeanwhileError,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.contract import (
    DesiredImage,
    ImagePlan,
    ObservedImage,
    Step,
    result_of,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.desired import node_graph, plan_image
from ansible_collections.directdisk.qemu.plugins.module_utils._images.lifecycle import Lifecycle
from ansible_collections.directdisk.qemu.plugins.module_utils._process.locks import locked_disk


class ImageResult(TypedDict):
    """Result of one image, or its prediction."""

    changed: bool
    actions: list[str]
    warnings: list[str]
    before: Mapping[str, Any]
    after: Mapping[str, Any]
    state: str
    size: int | None
    format: str | None
    blockdev: list[Node]


def reconcile(lifecycle: Lifecycle, desired: DesiredImage, bench: Workbench, *, check_mode: bool) -> ImageResult:
    """Bring a disk to its desired state; ``before`` and ``after`` in the result are observed, or predicted."""
    reads_only = check_mode or desired.state == "info"
    disk, seconds = desired.disk, bench.open_timeout
    lock = contextlib.nullcontext() if reads_only else locked_disk(disk, bench.progress, seconds=seconds)
    with storage_errors(disk), lock:
        return _reconcile(lifecycle, desired, bench, check_mode=check_mode)


def _reconcile(lifecycle: Lifecycle, desired: DesiredImage, bench: Workbench, *, check_mode: bool) -> ImageResult:
    before = lifecycle.observe(desired, bench)
    image_plan = plan_image(desired, before)
    steps, after = list(image_plan.steps), image_plan.after
    if steps and not check_mode:
        steps = _apply(lifecycle, desired, image_plan, bench)
        after = _observe_after(lifecycle, desired, image_plan, bench)
    return {
        "changed": bool(steps),
        "actions": [step.line for step in steps],
        "warnings": list(image_plan.warnings),
        "before": result_of(before),
        "after": result_of(after),
        "state": "present" if after.exists else "absent",
        "size": after.size,
        "format": after.format,
        "blockdev": [] if lifecycle.kind.serves(desired) else node_graph(desired.disk, bench.capabilities),
    }


def _apply(lifecycle: Lifecycle, desired: DesiredImage, image_plan: ImagePlan, bench: Workbench) -> list[Step]:
    """Apply the steps, and return those that were done. If another host made the image meanwhile, plan again."""
    done: list[Step] = []
    for step in image_plan.steps:
        try:
            lifecycle.actions[type(step.change)](desired, step.change, bench)
        except MadeMeanwhileError:
            again = plan_image(desired, lifecycle.observe(desired, bench))
            if any(type(other.change) is type(step.change) for other in again.steps):
                raise
            return [*done, *_apply(lifecycle, desired, again, bench)]
        done.append(step)
    return done


def _observe_after(
    lifecycle: Lifecycle, desired: DesiredImage, image_plan: ImagePlan, bench: Workbench
) -> ObservedImage:
    """Observe the result; an image that was just made and does not exist was removed by another host."""
    after = lifecycle.observe(desired, bench)
    if image_plan.after.exists and not after.exists:
        raise HostError("it was made, and does not exist any more: another host has removed it; run this again")
    return after


def discover(lifecycle: Lifecycle, place: Values | None, bench: Workbench) -> ImageResult:
    """List the disks of a server, in the form of a result."""
    listing = lifecycle.discover
    listed = result_of(listing(place or {}, bench)) if listing else {}
    return {
        "changed": False,
        "actions": [],
        "warnings": [],
        "before": listed,
        "after": listed,
        "state": "absent",
        "size": None,
        "format": None,
        "blockdev": [],
    }
