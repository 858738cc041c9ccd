# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plans images that are files. Pure."""

from __future__ import annotations

from dataclasses import replace

from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.image_format import check_format, has_format
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.contract import (
    DesiredImage,
    ImagePlan,
    ObservedImage,
    Step,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.image.changes import (
    CreateImage,
    RemoveImage,
    RemoveUnfinished,
    ResizeImage,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.image.file_storage import FILE_STORAGE
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.image.observed import (
    Kind,
    ObservedContent,
    ObservedFile,
    predict_content,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._options.read import in_words


def check(desired: DesiredImage) -> None:
    check_format(desired.disk, desired.provision, FILE_STORAGE[desired.disk.backend.name].preallocations)


def plan(desired: DesiredImage, observed: ObservedFile) -> ImagePlan:
    if desired.state == "absent":
        return _plan_removal(desired, observed)
    if not observed.exists:
        return _plan_new(desired, observed, overwrite=False)
    if observed.problem:
        refuse_problem(desired, observed, observed.problem)
        return _plan_new(desired, observed, overwrite=True)
    planned = plan_size(desired, observed)
    if planned.steps and observed.fixed_by:
        _refuse_fixed(desired, observed)
    return planned


def refuse_problem(desired: DesiredImage, observed: ObservedImage, problem: str) -> None:
    """Refuse to replace an image that is not what is declared, unless its loss is allowed."""
    if not desired.provision.get("overwrite"):
        raise DeclarationError(
            "", f"{problem}; it was not changed: correct the declaration, or set overwrite: true to lose its data"
        )
    refuse_in_use(desired, observed, "overwritten")
    _refuse_unknown_users(desired, "overwritten")


def _plan_removal(desired: DesiredImage, observed: ObservedFile) -> ImagePlan:
    steps = []
    if observed.exists:
        refuse_in_use(desired, observed, "removed")
        _refuse_unknown_users(desired, "removed")
        steps.append(Step(RemoveImage(), f"remove {desired.disk.described}", destroys=True))
    return ImagePlan(ObservedFile(exists=False, opened_by=observed.opened_by), (*steps, *_cleanup(observed)))


def _plan_new(desired: DesiredImage, observed: ObservedFile, *, overwrite: bool) -> ImagePlan:
    disk = desired.disk
    if observed.fixed_by and has_format(disk):
        raise DeclarationError("format", f"{_fixed(observed)}: a new image must be raw, without luks")
    if observed.folder != "directory":
        raise DeclarationError("", "the folder of the image does not exist; create it, or correct the path")
    size, needed = desired.size or observed.source_size, observed.source_size or 0
    if size is None:
        raise DeclarationError("size", "is required for a new image without source")
    if size < needed:
        raise DeclarationError(
            "size", f"{in_words(size, needed)} is less than the {in_words(needed, size)} of its source"
        )
    verb = "overwrite" if overwrite else "create"
    description = f"{verb} {disk.described} as {disk.settings['format']} of {in_words(size)}"
    if disk.origin:
        description += f", a copy of {disk.origin.described}"
    after = predict_content(ObservedFile, desired, size, observed.opened_by)
    step = Step(CreateImage(size, overwrite), description, destroys=overwrite)
    return ImagePlan(after, (*_cleanup(observed), step))


def plan_size(desired: DesiredImage, observed: Kind) -> ImagePlan:
    """Plan the size of an image that exists and is what is declared."""
    size, current, disk = desired.size, observed.size, desired.disk
    if size is None or current is None or size == current:
        return ImagePlan(observed)
    if "sha256" in desired.provision:
        sizes = f"{in_words(current, size)}, not {in_words(size, current)}"
        raise DeclarationError("size", f"it has {sizes}; with another size it would have another sha256")
    description = f"{'grow' if size > current else 'shrink'} {disk.described} to {in_words(size)}"
    if size < current:
        _refuse_shrinking(desired, observed, size, current)
    elif observed.opened_by and not desired.monitor:
        raise DeclarationError(
            "size", f"VM {observed.opened_by[0]} has it open and must grow it itself; set monitor and node"
        )
    step = Step(ResizeImage(size), description, destroys=size < current)
    return ImagePlan(replace(observed, size=size), (step,))


def _fixed(observed: ObservedFile) -> str:
    return f"by route {observed.fixed_by} its file does not grow"


def _refuse_fixed(desired: DesiredImage, observed: ObservedFile) -> None:
    """Refuse another size of an image whose file does not grow while it is open."""
    if has_format(desired.disk):
        raise DeclarationError("size", f"{_fixed(observed)}: only the size of a raw image can be changed")
    if observed.opened_by:
        raise DeclarationError(
            "size", f"{_fixed(observed)} while VM {observed.opened_by[0]} has it open; stop the VM first"
        )


def _refuse_shrinking(desired: DesiredImage, observed: ObservedContent, size: int, current: int) -> None:
    if not desired.provision.get("allow_shrink"):
        sizes = f"{in_words(current, size)}, more than the {in_words(size, current)} declared"
        advice = "declare its real size, or set allow_shrink: true to cut off its end"
        raise DeclarationError("size", f"it has {sizes}; {advice}")
    storage = FILE_STORAGE.get(desired.disk.backend.name)
    if storage and not storage.shrinks:
        raise DeclarationError("size", f"{desired.disk.backend.name} cannot shrink an image")
    refuse_in_use(desired, observed, "shrunk")
    _refuse_unknown_users(desired, "shrunk")


def refuse_in_use(desired: DesiredImage, observed: ObservedImage, change: str) -> None:
    """Refuse a change while a VM of this host has the image open; change: a participle, such as ``removed``."""
    others = [vm for vm in observed.opened_by or () if vm != desired.closing]
    if others and not desired.provision.get("force"):
        raise DeclarationError(
            "",
            f"VM {others[0]} of this host has it open: it is not {change}; stop the VM, or set force: true",
        )


def _refuse_unknown_users(desired: DesiredImage, change: str) -> None:
    """Refuse a change if storage without locks may be in use by a VM of another host, which is not known here."""
    disk, provision = desired.disk, desired.provision
    storage = FILE_STORAGE.get(disk.backend.name)
    if (
        disk.backend.source.local(disk.source)
        or (storage and storage.locks)
        or provision.get("unused")
        or provision.get("force")
    ):
        return
    raise DeclarationError(
        "",
        f"{disk.backend.name} cannot tell if a VM of another host has it open: it is not {change}; make sure that "
        "none has, and set unused: true",
    )


def _cleanup(observed: ObservedFile) -> tuple[Step, ...]:
    path = observed.unfinished
    return (Step(RemoveUnfinished(path), f"remove {path}, which an interrupted run left"),) if path else ()
