# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plans images that can only be read, and this host's copies of them. Pure."""

from __future__ import annotations

from dataclasses import replace

from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.contract import DesiredImage, ImagePlan, Step
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.image import file_plan as plans
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.image.changes import FetchCopy, RemoveCopy
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.image.observed import ObservedReadonly
from ansible_collections.directdisk.qemu.plugins.module_utils._routes import stage

_CHANGING = ("cluster_size", "preallocation", "lazy_refcounts", "backing", "allow_shrink", "overwrite")
_NO_EFFECT = (None, False, "off")
"""Values of these options with which they ask for nothing."""


def check(desired: DesiredImage) -> None:
    disk = desired.disk
    if desired.state == "absent" and not _means_copy(desired):
        hint = f"; set route: {stage.ROUTE.name} to remove this host's copy of it" if disk.backend.access.stage else ""
        raise DeclarationError("state", f"absent: {disk.described} can only be read, so it cannot be removed{hint}")
    for option in _CHANGING:
        if desired.provision.get(option) not in _NO_EFFECT:
            raise DeclarationError(option, f"{disk.described} can only be read")


def _means_copy(desired: DesiredImage) -> bool:
    """Tell if the declaration itself, not a choice of this host, sets the route of copies."""
    return bool(desired.disk.settings["route"] == stage.ROUTE.name)


def plan(desired: DesiredImage, observed: ObservedReadonly) -> ImagePlan:
    disk = desired.disk
    if desired.state == "absent":
        return _plan_removal(desired, observed)
    if observed.problem:
        raise DeclarationError("", f"{observed.problem}; correct the declaration, or find out who changed the image")
    refresh = bool(desired.provision.get("refresh")) and bool(observed.stale)
    warnings = list(observed.warnings)
    if observed.uses_copy and observed.stale and not refresh:
        warnings.append(
            f"{disk.described}: the server has another image than this host's copy; set refresh: true to fetch it"
        )
    if not observed.uses_copy or (observed.staged and not refresh):
        return ImagePlan(observed, warnings=tuple(warnings))
    again = "again " if observed.staged else ""
    step = Step(FetchCopy(), f"fetch {disk.described} {again}into this host's cache")
    return ImagePlan(replace(observed, staged=True, stale=False), (step,), tuple(warnings))


def _plan_removal(desired: DesiredImage, observed: ObservedReadonly) -> ImagePlan:
    if not observed.staged:
        return ImagePlan(observed)
    plans.refuse_in_use(desired, observed, "removed")
    step = Step(RemoveCopy(), f"remove the copy of {desired.disk.described}")
    return ImagePlan(replace(observed, exists=False, staged=False), (step,))
