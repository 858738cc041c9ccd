# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What to do about an image that is a file. Pure."""

from __future__ import annotations

from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.image_format import (
    check_format,
    found_format,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError
from ansible_collections.directdisk.qemu.plugins.module_utils._images.contract import Proposal, Seen, Step, Wanted
from ansible_collections.directdisk.qemu.plugins.module_utils._images.stores.registry import STORES
from ansible_collections.directdisk.qemu.plugins.module_utils._options.read import in_words


def check(wanted: Wanted) -> None:
    check_format(wanted.disk, wanted.provision, STORES[wanted.disk.backend.name].preallocations)


def plan(wanted: Wanted, seen: Seen) -> Proposal:
    if wanted.state == "absent":
        return _plan_removal(wanted, seen)
    if not seen["exists"]:
        return _plan_new(wanted, seen, overwrite=False)
    if "problem" in seen:
        refuse_problem(wanted, seen)
        return _plan_new(wanted, seen, overwrite=True)
    return plan_size(wanted, seen)


def refuse_problem(wanted: Wanted, seen: Seen) -> None:
    """What is there is not what is declared: it is left alone unless its loss is allowed."""
    if not wanted.provision.get("overwrite"):
        raise DeclarationError(
            "", f"{seen['problem']}; it was not touched: correct the declaration, or say overwrite: true"
        )
    refuse_in_use(wanted, seen, "overwritten")
    _refuse_unseen(wanted, "overwritten")


def _plan_removal(wanted: Wanted, seen: Seen) -> Proposal:
    steps = []
    if seen["exists"]:
        refuse_in_use(wanted, seen, "removed")
        _refuse_unseen(wanted, "removed")
        steps.append(Step("remove", f"remove {wanted.disk.described}", destroys=True))
    return Proposal({"exists": False, "opened_by": seen["opened_by"]}, (*steps, *_clearing(seen)))


def _plan_new(wanted: Wanted, seen: Seen, *, overwrite: bool) -> Proposal:
    disk, around = wanted.disk, seen["around"]
    if around["folder"] != "directory":
        raise DeclarationError("", "the folder that it is in is not there; create it, or correct the path")
    size = wanted.size or around.get("source_size")
    if size is None:
        raise DeclarationError("size", "is missing, and there is no image yet")
    if size < around.get("source_size", 0):
        raise DeclarationError("size", f"{size} is less than the {around['source_size']} bytes of its source")
    words = (
        f"{'overwrite' if overwrite else 'create'} {disk.described} as {disk.settings['format']} of {in_words(size)}"
    )
    if disk.origin:
        words += f", a copy of {disk.origin.described}"
    after = {"exists": True, **found_format(disk, wanted.provision, size), "opened_by": seen["opened_by"]}
    step = Step("make", words, {"size": size, "overwrite": overwrite}, destroys=overwrite)
    return Proposal(after, (*_clearing(seen), step))


def plan_size(wanted: Wanted, seen: Seen) -> Proposal:
    size, found, disk = wanted.size, seen["size"], wanted.disk
    if size is None or size == found:
        return Proposal(seen)
    if "sha256" in wanted.provision:
        raise DeclarationError("size", f"it has {found} bytes; with another size it would have another sha256")
    words = f"{'grow' if size > found else 'shrink'} {disk.described} to {in_words(size)}"
    step = Step("resize", words, {"size": size}, destroys=size < found)
    if size < found:
        _refuse_shrinking(wanted, seen)
    elif seen["opened_by"] and not wanted.monitor:
        raise DeclarationError(
            "size", f"machine {seen['opened_by'][0]} has it open and must grow it itself; give monitor and node"
        )
    return Proposal({**seen, "size": size}, (step,))


def _refuse_shrinking(wanted: Wanted, seen: Seen) -> None:
    if not wanted.provision.get("allow_shrink"):
        raise DeclarationError(
            "size",
            f"it has {seen['size']} bytes, more than the {wanted.size} declared, and allow_shrink is not said; "
            "declare its real size, or have its end cut off",
        )
    store = STORES.get(wanted.disk.backend.name)
    if store and not store.shrinks:
        raise DeclarationError("size", f"an image cannot be made smaller by {wanted.disk.backend.name}")
    refuse_in_use(wanted, seen, "shrunk")
    _refuse_unseen(wanted, "shrunk")


def refuse_in_use(wanted: Wanted, seen: Seen, what: str) -> None:
    if seen["opened_by"] and not wanted.provision.get("force"):
        raise DeclarationError(
            "", f"machine {seen['opened_by'][0]} of this host has it open: it is not {what} (force: true does)"
        )


def _refuse_unseen(wanted: Wanted, what: str) -> None:
    """Only the VMs of this host are seen; of those of other hosts, storage without locks tells nothing."""
    disk, provision = wanted.disk, wanted.provision
    store = STORES.get(disk.backend.name)
    if (
        disk.backend.source.local(disk.source)
        or (store and store.locks)
        or provision.get("unused")
        or provision.get("force")
    ):
        return
    raise DeclarationError(
        "",
        f"{disk.backend.name} cannot tell if a VM of another host has it open: it is not {what} "
        "(make sure that none has, and say unused: true)",
    )


def _clearing(seen: Seen) -> tuple[Step, ...]:
    left = seen["around"].get("unfinished")
    return (Step("clear", f"remove {left}, which a killed run has left", {"path": left}),) if left else ()
