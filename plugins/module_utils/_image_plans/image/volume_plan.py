# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plans images on volumes that exist and have a fixed size: devices, exports and VDIs. Pure."""

from __future__ import annotations

from dataclasses import replace

from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.image_format import check_format, has_format
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.contract import DesiredImage, ImagePlan
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.image import file_plan as plans
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.image.observed import (
    ObservedVolume,
    predict_content,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.volume import content
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.volume.plan import Volume, plan_writing

_OF_FILES = ("cluster_size", "lazy_refcounts", "backing")


def check(desired: DesiredImage) -> None:
    disk = desired.disk
    if desired.state == "absent":
        raise DeclarationError("state", f"absent: only its server or host can remove a {disk.backend.name} disk")
    check_format(disk, desired.provision, ("off",))
    for option in _OF_FILES:
        if desired.provision.get(option):
            raise DeclarationError(option, f"is for images that are files, not for {disk.backend.name}")


def plan(desired: DesiredImage, observed: ObservedVolume) -> ImagePlan:
    disk = desired.disk
    if observed.problem:
        plans.refuse_problem(desired, observed, observed.problem)
    formats = observed.needs_format or bool(observed.problem and has_format(disk))
    imports = bool(disk.origin) and (formats or bool(observed.problem) or observed.content != content.DATA)
    if not formats and not imports:
        return replace(plans.plan_size(desired, observed), warnings=_hidden_data(desired, observed))
    if observed.in_use:
        raise DeclarationError("", f"this host itself uses {observed.in_use}: it is not written to")
    plans.refuse_in_use(desired, observed, "written to")
    volume = Volume(
        disk,
        observed.capacity,
        observed.size or 0,
        observed.content or content.DATA,
        overwrites=bool(observed.problem),
        source_size=observed.source_size,
    )
    steps, size = plan_writing(volume, desired.size, formats=formats, imports=imports)
    after = predict_content(ObservedVolume, desired, size, observed.opened_by)
    return ImagePlan(replace(after, content=content.DATA), steps)


def _hidden_data(desired: DesiredImage, observed: ObservedVolume) -> tuple[str, ...]:
    """Warn if a source was not written because a full read found data between the samples."""
    at = observed.data_at
    return () if at is None else (content.hidden(desired.disk.described, at),)
