# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What to do about an image that is a file. Pure."""

from __future__ import annotations

from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.image_format import (
    check_format,
    found_format,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError
from ansible_collections.directdisk.qemu.plugins.module_utils._images.contract import (
    DesiredImage,
    ImagePlan,
    ObservedImage,
    Step,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._images.stores.registry import STORES
from ansible_collections.directdisk.qemu.plugins.module_utils._options.read import in_words


def check(desired: DesiredImage) -> None:
    check_format(desired.disk, desired.provision, STORES[desired.disk.backend.name].preallocations)


def plan(desired: DesiredImage, observed: ObservedImage) -> ImagePlan:
    if desired.state == "absent":
        return _plan_removal(desired, observed)
    if not observed["exists"]:
        return _plan_new(desired, observed, overwrite=False)
    if "problem" in observed:
        refuse_problem(desired, observed)
        return _plan_new(desired, observed, overwrite=True)
    return plan_size(desired, observed)


def refuse_problem(desired: DesiredImage, observed: ObservedImage) -> None:
    """What is there is not what is declared: it is left alone unless its loss is allowed."""
    if not desired.provision.get("overwrite"):
        raise DeclarationError(
            "", f"{observed['problem']}; it was not touched: correct the declaration, or say overwrite: true"
        )
    refuse_in_use(desired, observed, "overwritten")
    _refuse_unseen(desired, "overwritten")


def _plan_removal(desired: DesiredImage, observed: ObservedImage) -> ImagePlan:
    steps = []
    if observed["exists"]:
        refuse_in_use(desired, observed, "removed")
        _refuse_unseen(desired, "removed")
        steps.append(Step("remove", f"remove {desired.disk.described}", destroys=True))
    return ImagePlan({"exists": False, "opened_by": observed["opened_by"]}, (*steps, *_clearing(observed)))


def _plan_new(desired: DesiredImage, observed: ObservedImage, *, overwrite: bool) -> ImagePlan:
    disk, around = desired.disk, observed["around"]
    if around["folder"] != "directory":
        raise DeclarationError("", "the folder that it is in is not there; create it, or correct the path")
    size = desired.size or around.get("source_size")
    if size is None:
        raise DeclarationError("size", "is missing, and there is no image yet")
    if size < around.get("source_size", 0):
        raise DeclarationError("size", f"{size} is less than the {around['source_size']} bytes of its source")
    words = (
        f"{'overwrite' if overwrite else 'create'} {disk.described} as {disk.settings['format']} of {in_words(size)}"
    )
    if disk.origin:
        words += f", a copy of {disk.origin.described}"
    after = {"exists": True, **found_format(disk, desired.provision, size), "opened_by": observed["opened_by"]}
    step = Step("make", words, {"size": size, "overwrite": overwrite}, destroys=overwrite)
    return ImagePlan(after, (*_clearing(observed), step))


def plan_size(desired: DesiredImage, observed: ObservedImage) -> ImagePlan:
    size, found, disk = desired.size, observed["size"], desired.disk
    if size is None or size == found:
        return ImagePlan(observed)
    if "sha256" in desired.provision:
        raise DeclarationError("size", f"it has {found} bytes; with another size it would have another sha256")
    words = f"{'grow' if size > found else 'shrink'} {disk.described} to {in_words(size)}"
    step = Step("resize", words, {"size": size}, destroys=size < found)
    if size < found:
        _refuse_shrinking(desired, observed)
    elif observed["opened_by"] and not desired.monitor:
        raise DeclarationError(
            "size", f"machine {observed['opened_by'][0]} has it open and must grow it itself; give monitor and node"
        )
    return ImagePlan({**observed, "size": size}, (step,))


def _refuse_shrinking(desired: DesiredImage, observed: ObservedImage) -> None:
    if not desired.provision.get("allow_shrink"):
        raise DeclarationError(
            "size",
            f"it has {observed['size']} bytes, more than the {desired.size} declared, and allow_shrink is not said; "
            "declare its real size, or have its end cut off",
        )
    store = STORES.get(desired.disk.backend.name)
    if store and not store.shrinks:
        raise DeclarationError("size", f"an image cannot be made smaller by {desired.disk.backend.name}")
    refuse_in_use(desired, observed, "shrunk")
    _refuse_unseen(desired, "shrunk")


def refuse_in_use(desired: DesiredImage, observed: ObservedImage, what: str) -> None:
    if observed["opened_by"] and not desired.provision.get("force"):
        raise DeclarationError(
            "", f"machine {observed['opened_by'][0]} of this host has it open: it is not {what} (force: true does)"
        )


def _refuse_unseen(desired: DesiredImage, what: str) -> None:
    """Only the VMs of this host are seen; of those of other hosts, storage without locks tells nothing."""
    disk, provision = desired.disk, desired.provision
    store = STORES.get(disk.backend.name)
    if disk.backend.local(disk.source) or (store and store.locks) or provision.get("unused") or provision.get("force"):
        return
    raise DeclarationError(
        "",
        f"{disk.backend.name} cannot tell if a VM of another host has it open: it is not {what} "
        "(make sure that none has, and say unused: true)",
    )


def _clearing(observed: ObservedImage) -> tuple[Step, ...]:
    left = observed["around"].get("unfinished")
    return (Step("clear", f"remove {left}, which a killed run has left", {"path": left}),) if left else ()
