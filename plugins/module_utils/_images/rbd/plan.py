# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is to be done to an rbd image, from what is wanted and what was found. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError
from ansible_collections.directdisk.qemu.plugins.module_utils._images.contract import (
    DesiredImage,
    ImagePlan,
    ObservedImage,
    Step,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._images.rbd.options import (
    SECTOR,
    at,
    is_translated,
    texts_of,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._options.read import in_words

TWINS = frozenset({"object-map", "fast-diff"})
"""Ceph turns both on where one is asked for."""
LATER_OFF_ONLY = frozenset({"deep-flatten"})
FIXED = frozenset({"layering", "striping", "data-pool"})


DESTRUCTIVE = frozenset({"remove", "shrink", "rollback", "unsnapshot"})
"""Verbs after which data is gone; from the trash an image comes back."""


class _Draft:
    """The image as it will be after the steps so far."""

    def __init__(self, desired: DesiredImage, observed: ObservedImage) -> None:
        self.desired = desired
        self.observed = observed
        self.steps: list[Step] = []
        self.warnings: list[str] = []
        self.image: dict[str, Any] = dict(observed)

    def add(self, verb: str, words: str, **values: Any) -> None:
        self.steps.append(Step(verb, words, values, destroys=verb in DESTRUCTIVE))

    def refuse_open(self, deed: str) -> None:
        """Refuse a deed that a client would not survive who has the image open."""
        watchers = self.image.get("watchers", ())
        if watchers and not self.desired.provision["force"]:
            raise DeclarationError(
                self.name, f"will not be {deed}: {_and(watchers)} has it open; stop that client, or say force: true"
            )

    @property
    def name(self) -> str:
        return self.desired.disk.described

    def image_plan(self) -> ImagePlan:
        return ImagePlan(self.image, tuple(self.steps), tuple(self.warnings))


def plan(desired: DesiredImage, observed: ObservedImage) -> ImagePlan:
    """Raises DeclarationError for what must not be done to what was found."""
    draft = _Draft(desired, observed)
    if "snapshot" in desired.disk.source:
        if not observed["exists"]:
            raise DeclarationError(draft.name, "there is no such image or snapshot; correct image and snapshot")
        return draft.image_plan()
    _discard(draft)
    if desired.state == "absent":
        _remove(draft)
    else:
        _provide(draft)
    return draft.image_plan()


def _discard(draft: _Draft) -> None:
    for name in draft.image.pop("_abandoned", ()):
        part = at(draft.desired.disk, image=name).described
        draft.add("discard_abandoned", f"remove {part}, which a run on another host left unfinished", name=name)
    if not draft.image.pop("incomplete", None):
        return
    if draft.image.get("_half_renamed"):
        draft.add("finish", f"finish giving {draft.name} its name")
    else:
        draft.add("discard", f"remove what an unfinished run left of {draft.name}")


def _remove(draft: _Draft) -> None:
    image, provision = draft.image, draft.desired.provision
    if not image["exists"]:
        return
    draft.refuse_open("removed")
    if provision["trash"]:
        until = f" for {provision['trash_seconds']} s at least" if provision["trash_seconds"] else ""
        draft.add("trash", f"move {draft.name} to the trash{until}", seconds=provision["trash_seconds"])
    else:
        _refuse_children(draft, draft.name, image["children"], "removed")
        names = [snapshot["name"] for snapshot in image["snapshots"]]
        if names and not provision["with_snapshots"]:
            raise DeclarationError(
                draft.name, f"will not be removed: it has the snapshots {_and(names)}; say with_snapshots: true"
            )
        also = f" and its snapshots {_and(names)}" if names else ""
        draft.add("remove", f"remove {draft.name}{also}")
    draft.image = {"exists": False}


def _refuse_children(draft: _Draft, name: str, children: Iterable[str], deed: str) -> None:
    if children:
        raise DeclarationError(name, f"will not be {deed}: it has the clones {_and(children)}; flatten them first")


def _provide(draft: _Draft) -> None:
    provision = draft.desired.provision
    former = draft.observed.get("_former")
    if draft.image["exists"]:
        _refuse_content(draft, draft.image)
    elif former:
        _bring_back(draft, former)
    else:
        _make(draft)
        _metadata(draft)
        _snapshots(draft)
        return
    _refuse_fixed(draft)
    _features(draft)
    _roll_back(draft)
    _resize(draft)
    if provision["flatten"] and draft.image["parent"]:
        draft.add("flatten", f"copy into {draft.name} what it shares with {draft.image['parent']}")
        draft.image["parent"] = ""
    _metadata(draft)
    _snapshots(draft)


def _refuse_content(draft: _Draft, image: ObservedImage) -> None:
    if image.get("_not_raw"):
        raise DeclarationError(draft.name, f"{image['_not_raw']}; it was not touched")


def _bring_back(draft: _Draft, former: ObservedImage) -> None:
    """An image that is there under another name, or in the trash, becomes the wanted one."""
    draft.image = {name: value for name, value in former.items() if name != "_found"}
    _refuse_content(draft, former)
    how, where = former["_found"]
    if how == "renamed":
        draft.refuse_open("renamed")
        former_name = at(draft.desired.disk, image=where).described
        draft.add("rename", f"rename {former_name} to {draft.name}", name=where)
    else:
        draft.add("restore", f"take {draft.name} out of the trash", id=where)


# --- new images ------------------------------------------------------------------------------------------------------


def _make(draft: _Draft) -> None:
    desired, new = draft.desired, draft.observed["_new"]
    source = new.get("source", {})
    clone = bool(source.get("clone"))
    size = _new_size(desired, source)
    layout = _layout(desired, {**new["defaults"], **source.get("layout", {})})
    _refuse_unclear_encryption(desired)
    if clone:
        _refuse_unprotected(desired, source)
        if "layering" not in layout["features"]:
            raise DeclarationError("features", "a clone wants layering among them")
    flat = desired.provision["flatten"]
    if clone:
        words = f"clone {desired.disk.origin and desired.disk.origin.described} as {draft.name}"
    elif desired.disk.origin:
        words = f"import {desired.disk.origin.described} into {draft.name} of {in_words(size)}"
    else:
        words = f"create {draft.name} of {in_words(size)}{', written full' if desired.provision['thick'] else ''}"
    draft.add("make", words, size=size, was=source["size"] if clone else size, clone=clone, **layout)
    draft.image = {
        "exists": True,
        "size": size,
        "format": desired.disk.settings["format"],
        **layout,
        "parent": source["parent"] if clone else "",
        "children": [],
        "snapshots": [],
        "metadata": dict(source["metadata"]) if clone else {},
        "image_config": dict(source["image_config"]) if clone else {},
        "watchers": [],
        "lock": "",
    }
    if clone and flat:
        draft.add("flatten", f"copy into {draft.name} what it shares with {draft.image['parent']}")
        draft.image["parent"] = ""


def _new_size(desired: DesiredImage, source: Any) -> int:
    size, least = desired.size, source.get("size", 0)
    if size is None and not least:
        raise DeclarationError("size", f"is missing, and there is no {desired.disk.described} yet")
    if size is None:
        return -(-int(least) // SECTOR) * SECTOR
    if size < least:
        raise DeclarationError("size", f"{in_words(size)} is less than the {in_words(least)} of source")
    return size


def _layout(desired: DesiredImage, defaults: Any) -> dict[str, Any]:
    provision = desired.provision
    object_size = provision.get("object_size", defaults["object_size"])
    striped = "stripe_unit" in provision or defaults["stripe_unit"]
    unit = provision.get("stripe_unit", defaults["stripe_unit"]) if striped else object_size
    count = provision.get("stripe_count", defaults["stripe_count"]) if striped else 1
    if object_size % unit:
        raise DeclarationError("stripe_unit", f"{unit} does not divide the {object_size} bytes of an object")
    pool = provision.get("data_pool", defaults["data_pool"])
    features = _with_twins(provision.get("features", defaults["features"]))
    features |= {"striping"} if (unit, count) != (object_size, 1) else set()
    features |= {"data-pool"} if pool else set()
    return {
        "features": sorted(features),
        "object_size": object_size,
        "stripe_unit": unit,
        "stripe_count": count,
        "data_pool": pool,
    }


def _with_twins(features: Iterable[str]) -> set[str]:
    given = set(features)
    return given | TWINS if given & TWINS else given


def _refuse_unclear_encryption(desired: DesiredImage) -> None:
    encryption = desired.disk.source.get("encryption", {})
    if encryption.get("format") == "luks-any":
        raise DeclarationError("encryption", "a new image wants format luks or luks2, not luks-any")
    if "parent" in encryption:
        raise DeclarationError("encryption", "parent is for a clone that is there already; leave it out")


def _refuse_unprotected(desired: DesiredImage, source: Any) -> None:
    if source["clone_format"] == 1 and not source["protected"]:
        raise DeclarationError(
            "source",
            f"{source['parent']} is not protected, as this cluster wants it of a snapshot with clones; say protected: "
            "true of it, or config: {rbd_default_clone_format: 2} where no client is older than Ceph 13.2",
        )


# --- images that are there -------------------------------------------------------------------------------------------


def _refuse_fixed(draft: _Draft) -> None:
    image, provision = draft.image, draft.desired.provision
    for option in ("object_size", "stripe_unit", "stripe_count", "data_pool"):
        if provision.get(option, image[option]) != image[option]:
            raise DeclarationError(
                option, f"{draft.name} has {image[option] or 'none'}, which cannot be changed; declare what it has"
            )


def _features(draft: _Draft) -> None:
    if "features" not in draft.desired.provision:
        return
    have = set(draft.image["features"])
    want = _with_twins(draft.desired.provision["features"]) | (have & {"striping", "data-pool"})
    for name in sorted((want - have) & (LATER_OFF_ONLY | FIXED)):
        raise DeclarationError("features", f"{draft.name} was made without {name}, which cannot be had later")
    for name in sorted((have - want) & FIXED):
        raise DeclarationError("features", f"{draft.name} has {name}, which cannot be taken away")
    if have - want:
        draft.add("features", f"turn off {_and(have - want)} of {draft.name}", names=sorted(have - want), on=False)
    if want - have:
        draft.add("features", f"turn on {_and(want - have)} of {draft.name}", names=sorted(want - have), on=True)
    draft.image["features"] = sorted(want)


def _roll_back(draft: _Draft) -> None:
    name = draft.desired.provision.get("rollback")
    if not name:
        return
    found = draft.observed.get("_rollback")
    if not found:
        names = [snapshot["name"] for snapshot in draft.image["snapshots"]]
        raise DeclarationError("rollback", f"{draft.name} has no snapshot {name} (there are: {_and(names) or 'none'})")
    if draft.desired.size not in (None, found["size"]):
        raise DeclarationError("rollback", f"{name} has {in_words(found['size'])}; declare that size, or none")
    if found["equal"]:
        return
    draft.refuse_open("rolled back")
    draft.add("rollback", f"roll {draft.name} back to {name}", name=name)
    draft.image["size"] = found["size"]


def _resize(draft: _Draft) -> None:
    desired, have = draft.desired, draft.image["size"]
    if desired.size is None or desired.size == have:
        return
    watchers = draft.image["watchers"]
    if desired.size < have:
        if not desired.provision["allow_shrink"]:
            raise DeclarationError(
                "size",
                f"{draft.name} has {in_words(have)}, and would lose what is beyond {in_words(desired.size)}; "
                "say allow_shrink: true, or a larger size",
            )
        draft.refuse_open("shrunk")
    elif watchers and not desired.monitor:
        if is_translated(desired.disk):
            raise DeclarationError(
                "size",
                f"{draft.name} is open at {_and(watchers)}, and its format must not be written by two; "
                "say monitor and node of that machine, or stop it",
            )
        draft.warnings.append(
            f"{draft.name} is open at {_and(watchers)}: a guest sees the new size once its machine starts anew, "
            "or say monitor and node of that machine"
        )
    deed = "grow" if desired.size > have else "shrink"
    draft.add(
        deed, f"{deed} {draft.name} from {in_words(have)} to {in_words(desired.size)}", size=desired.size, was=have
    )
    draft.image["size"] = desired.size


def _metadata(draft: _Draft) -> None:
    for option, verb in (("metadata", "metadata"), ("image_config", "config")):
        have = dict(draft.image[option])
        for key, text in sorted(texts_of(draft.desired.provision.get(option, {})).items()):
            if have.get(key) == text:
                continue
            if text is None:
                draft.add(verb, f"remove {option} {key} of {draft.name}", key=key, text=None)
                have.pop(key)
            else:
                draft.add(verb, f"set {option} {key} of {draft.name} to {text}", key=key, text=text)
                have[key] = text
        draft.image[option] = have


def _snapshots(draft: _Draft) -> None:
    have = {snapshot["name"]: dict(snapshot) for snapshot in draft.image["snapshots"]}
    for desired in draft.desired.provision.get("snapshots", ()):
        name, found = desired["name"], have.get(desired["name"])
        full = f"{draft.name}@{name}"
        if desired["state"] == "absent":
            if found:
                _remove_snapshot(draft, found, full, unprotect=desired.get("protected") is False)
                del have[name]
            continue
        if not found:
            draft.add("snapshot", f"take the snapshot {full}", name=name)
            found = have[name] = {"name": name, "protected": False, "children": []}
        _protect(draft, found, full, desired.get("protected", found["protected"]))
    draft.image["snapshots"] = sorted(have.values(), key=lambda snapshot: str(snapshot["name"]))


def _remove_snapshot(draft: _Draft, found: Any, full: str, *, unprotect: bool) -> None:
    _refuse_children(draft, full, found["children"], "removed")
    if found["protected"]:
        if not unprotect:
            raise DeclarationError(full, "will not be removed: it is protected; say protected: false beside absent")
        _protect(draft, found, full, False)
    draft.add("unsnapshot", f"remove the snapshot {full}", name=found["name"])


def _protect(draft: _Draft, found: Any, full: str, protected: bool) -> None:
    if found["protected"] == protected:
        return
    if not protected:
        _refuse_children(draft, full, found["children"], "unprotected")
    draft.add("protect", f"{'protect' if protected else 'unprotect'} {full}", name=found["name"], protected=protected)
    found["protected"] = protected


# --- words -----------------------------------------------------------------------------------------------------------


def _and(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
