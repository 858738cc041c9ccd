# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images that QEMU's own drivers make and grow: files on a server or on the host, and formats on what is there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Callable

from ansible_collections.directdisk.qemu.plugins.module_utils import _image_make
from ansible_collections.directdisk.qemu.plugins.module_utils._backend import Option, Values
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError
from ansible_collections.directdisk.qemu.plugins.module_utils._formats import (
    FORMAT_OPTIONS,
    check_format,
    found_format,
    in_words,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._image_look import look_at_file
from ansible_collections.directdisk.qemu.plugins.module_utils._lifecycle import Lifecycle, Proposal, Seen, Step, Wanted
from ansible_collections.directdisk.qemu.plugins.module_utils._stores import STORES
from ansible_collections.directdisk.qemu.plugins.module_utils._workbench import Workbench

OPTIONS = (
    *FORMAT_OPTIONS,
    Option("allow_shrink", "Make an image smaller where it is larger than O(size); what is cut off is lost.", "bool"),
    Option(
        "overwrite",
        "Make the image anew where what is there is not what is declared: another format, or another digest than "
        "O(sha256). What is there is lost.",
        "bool",
    ),
    Option(
        "force",
        "Remove, shrink or overwrite an image also while a machine of this host has it open.",
        "bool",
    ),
    Option(
        "sha256",
        "Digest of the image as it is stored. A new image is checked before it is put in its place; one that is there "
        "is read whole and checked at each run, so this is for images that nobody writes to.",
        "hex",
        pattern="[0-9a-f]{64}",
        pattern_help="has not the 64 digits of a sha256",
    ),
    Option("check", "Have qemu-img check the image; one that is corrupt is an error.", "bool", default=False),
)


def _check(wanted: Wanted) -> None:
    store = STORES.get(wanted.disk.backend.name)
    check_format(wanted.disk, wanted.provision, store.preallocations if store else ("off",))


def _observe(wanted: Wanted, bench: Workbench) -> Seen:
    return look_at_file(wanted, STORES[wanted.disk.backend.name], bench)


def _plan(wanted: Wanted, seen: Seen) -> Proposal:
    if wanted.state == "absent":
        return _plan_removal(wanted, seen)
    if not seen["exists"]:
        return _plan_new(wanted, seen, overwrite=False)
    if "problem" in seen:
        if not wanted.provision.get("overwrite"):
            raise DeclarationError(
                "", f"{seen['problem']}; nothing was changed: correct the declaration, or say overwrite: true"
            )
        _refuse_in_use(wanted, seen, "overwritten")
        return _plan_new(wanted, seen, overwrite=True)
    return _plan_size(wanted, seen)


def _plan_removal(wanted: Wanted, seen: Seen) -> Proposal:
    steps = []
    if seen["exists"]:
        _refuse_in_use(wanted, seen, "removed")
        steps.append(Step("remove", f"remove {wanted.disk.described}"))
    return Proposal({"exists": False, "opened_by": []}, (*steps, *_clearing(seen)))


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
    after = {
        "exists": True,
        **found_format(disk, wanted.provision, size),
        "opened_by": seen["opened_by"],
    }
    if "sha256" in wanted.provision:
        after["sha256"] = wanted.provision["sha256"]
    return Proposal(after, (*_clearing(seen), Step("make", words, {"size": size, "overwrite": overwrite})))


def _plan_size(wanted: Wanted, seen: Seen) -> Proposal:
    size, found, disk = wanted.size, seen["size"], wanted.disk
    if size is None or size == found:
        return Proposal(seen)
    step = Step(
        "resize", f"{'grow' if size > found else 'shrink'} {disk.described} to {in_words(size)}", {"size": size}
    )
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
    if not STORES[wanted.disk.backend.name].shrinks:
        raise DeclarationError("size", f"an image cannot be made smaller by {wanted.disk.backend.name}")
    _refuse_in_use(wanted, seen, "shrunk")


def _refuse_in_use(wanted: Wanted, seen: Seen, what: str) -> None:
    if seen["opened_by"] and not wanted.provision.get("force"):
        raise DeclarationError(
            "", f"machine {seen['opened_by'][0]} of this host has it open: it is not {what} (force: true does)"
        )


def _clearing(seen: Seen) -> tuple[Step, ...]:
    left = seen["around"].get("unfinished")
    return (Step("clear", f"remove {left}, which a killed run has left", {"path": left}),) if left else ()


_VERBS: Mapping[str, Callable[[Wanted, Values, Workbench], None]] = {
    "make": _image_make.make,
    "resize": _image_make.resize,
    "remove": _image_make.remove,
    "clear": _image_make.clear,
}

LIFECYCLE = Lifecycle("image", OPTIONS, _check, _observe, _plan, _VERBS)
