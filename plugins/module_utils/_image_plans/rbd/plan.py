# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plans an rbd image. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.contract import (
    Change,
    DesiredImage,
    ImagePlan,
    Step,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.rbd import changes
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.rbd.new_image import (
    complete_features,
    layout_of_new,
    size_of_new,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.rbd.observed import (
    FormerImage,
    ObservedRbd,
    RbdImage,
    Snapshot,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.rbd.options import (
    at,
    is_translated,
    texts_of,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._options.read import in_words

LATER_OFF_ONLY = frozenset({"deep-flatten"})
FIXED = frozenset({"layering", "striping", "data-pool"})


class _RbdPlan:
    """Collects steps; ``image`` and ``size`` are the state after those so far."""

    def __init__(self, desired: DesiredImage, observed: ObservedRbd) -> None:
        self.desired = desired
        self.observed = observed
        self.steps: list[Step] = []
        self.warnings: list[str] = []
        self.image = observed.image
        self.size = observed.size
        self.stored_size = observed.stored_size

    def add(self, change: Change, description: str, *, destroys: bool = False) -> None:
        self.steps.append(Step(change, description, destroys=destroys))

    def refuse_open(self, image: RbdImage, change: str) -> None:
        """Refuse a change under a client that has the image open; change: a participle, such as ``removed``."""
        # One of them is the VM that is stopped first. Those that are left then are seen by the removal itself.
        others = len(image.watchers) - (1 if self.desired.closing else 0)
        if others > 0 and not self.desired.provision["force"]:
            raise DeclarationError(
                self.name,
                f"is not {change}: {_join(image.watchers)} has it open; stop that client, or set force: true",
            )

    @property
    def name(self) -> str:
        return self.desired.disk.described

    def plan(self) -> ImagePlan:
        if self.image is None:
            after = ObservedRbd(exists=False)
        else:
            form = self.desired.disk.settings["format"]
            after = ObservedRbd(True, self.size, form, stored_size=self.stored_size, image=self.image)
        return ImagePlan(after, tuple(self.steps), tuple(self.warnings))


def plan(desired: DesiredImage, observed: ObservedRbd) -> ImagePlan:
    """Plan one disk; raises DeclarationError for what must not be done to the observed image."""
    builder = _RbdPlan(desired, observed)
    if "snapshot" in desired.disk.source:
        if not observed.exists:
            raise DeclarationError(builder.name, "there is no such image or snapshot; correct image and snapshot")
        return builder.plan()
    _clean_up(builder)
    if desired.state == "absent":
        _remove(builder)
    else:
        _provide(builder)
    return builder.plan()


def _clean_up(builder: _RbdPlan) -> None:
    for name in builder.observed.abandoned:
        part = at(builder.desired.disk, image=name).described
        builder.add(changes.RemoveAbandoned(name), f"remove {part}, which a run on another host left unfinished")
    if not builder.observed.incomplete:
        return
    if builder.observed.half_renamed:
        builder.add(changes.FinishRename(), f"finish the interrupted rename to {builder.name}")
    else:
        builder.add(changes.RemoveUnfinished(), f"remove what an unfinished run left of {builder.name}")


def _remove(builder: _RbdPlan) -> None:
    image, provision = builder.image, builder.desired.provision
    if image is None:
        return
    builder.refuse_open(image, "removed")
    if provision["trash"]:
        seconds = provision["trash_seconds"]
        until = f" for at least {seconds} s" if seconds else ""
        builder.add(changes.MoveToTrash(seconds), f"move {builder.name} to the trash{until}")
    else:
        _refuse_children(builder.name, image.children, "removed")
        names = [snapshot.name for snapshot in image.snapshots]
        if names and not provision["with_snapshots"]:
            raise DeclarationError(
                builder.name, f"is not removed: it has the snapshots {_join(names)}; set with_snapshots: true"
            )
        also = f" and its snapshots {_join(names)}" if names else ""
        builder.add(changes.RemoveImage(), f"remove {builder.name}{also}", destroys=True)
    builder.image = None


def _refuse_children(name: str, children: Iterable[str], change: str) -> None:
    if children:
        raise DeclarationError(name, f"is not {change}: it has the clones {_join(children)}; flatten them first")


def _provide(builder: _RbdPlan) -> None:
    image, former = builder.image, builder.observed.former
    if image is not None:
        _refuse_content(builder, builder.observed)
    elif former:
        image = _bring_back(builder, former)
    else:
        image = _flatten(builder, _create(builder))
        builder.image = _snapshots(builder, _metadata(builder, image))
        return
    _refuse_fixed(builder, image)
    image = _features(builder, image)
    _roll_back(builder, image)
    _resize(builder, image)
    image = _flatten(builder, image)
    builder.image = _snapshots(builder, _metadata(builder, image))


def _refuse_content(builder: _RbdPlan, observed: ObservedRbd) -> None:
    if observed.not_raw:
        raise DeclarationError(builder.name, f"{observed.not_raw}; it was not changed")


def _bring_back(builder: _RbdPlan, former: FormerImage) -> RbdImage:
    """Rename the image that has the former name, or take it out of the trash."""
    observed = former.observed
    if observed.image is None:
        raise AssertionError
    builder.size, builder.stored_size = observed.size, observed.stored_size
    _refuse_content(builder, observed)
    if former.name:
        builder.refuse_open(observed.image, "renamed")
        former_name = at(builder.desired.disk, image=former.name).described
        builder.add(changes.RenameImage(former.name), f"rename {former_name} to {builder.name}")
    else:
        builder.add(changes.RestoreImage(former.trash_id), f"take {builder.name} out of the trash")
    return observed.image


def _create(builder: _RbdPlan) -> RbdImage:
    desired, new = builder.desired, builder.observed.new
    if new is None:
        raise AssertionError
    disk, clone = desired.disk, new.clone
    size = size_of_new(desired, new)
    layout = layout_of_new(desired, new)
    if clone and disk.origin:
        description = f"clone {disk.origin.described} as {builder.name}"
    elif disk.origin:
        description = f"import {disk.origin.described} into {builder.name} of {in_words(size)}"
    else:
        full = ", written full" if desired.provision["thick"] else ""
        description = f"create {builder.name} of {in_words(size)}{full}"
    change = changes.CreateImage(size, layout, bool(clone), new.source_size if clone else size)
    builder.add(change, description)
    builder.size = size
    if not clone:
        return RbdImage(layout)
    return RbdImage(layout, parent=clone.parent, metadata=clone.metadata, image_config=clone.image_config)


# --- images that exist -----------------------------------------------------------------------------------------------


def _refuse_fixed(builder: _RbdPlan, image: RbdImage) -> None:
    provision = builder.desired.provision
    for option in ("object_size", "stripe_unit", "stripe_count", "data_pool"):
        current = getattr(image.layout, option)
        if provision.get(option, current) != current:
            raise DeclarationError(
                option, f"{builder.name} has {current or 'none'}, which cannot be changed; declare what it has"
            )


def _features(builder: _RbdPlan, image: RbdImage) -> RbdImage:
    if "features" not in builder.desired.provision:
        return image
    current = set(image.layout.features)
    declared = complete_features(builder.desired.provision["features"]) | (current & {"striping", "data-pool"})
    for name in sorted((declared - current) & (LATER_OFF_ONLY | FIXED)):
        raise DeclarationError("features", f"{builder.name} was created without {name}, which cannot be added later")
    for name in sorted((current - declared) & FIXED):
        raise DeclarationError("features", f"{builder.name} has {name}, which cannot be turned off")
    for names, enabled in ((current - declared, False), (declared - current, True)):
        if names:
            change = changes.SetFeatures(tuple(sorted(names)), enabled)
            builder.add(change, f"turn {'on' if enabled else 'off'} {_join(names)} of {builder.name}")
    return replace(image, layout=replace(image.layout, features=tuple(sorted(declared))))


def _roll_back(builder: _RbdPlan, image: RbdImage) -> None:
    name, target = builder.desired.provision.get("rollback"), builder.observed.rollback
    if not name:
        return
    if not target:
        names = [snapshot.name for snapshot in image.snapshots]
        raise DeclarationError(
            "rollback", f"{builder.name} has no snapshot {name} (there are: {_join(names) or 'none'})"
        )
    if builder.desired.size not in (None, target.size):
        raise DeclarationError("rollback", f"{name} has {in_words(target.size)}; declare that size, or none")
    if target.equal:
        return
    builder.refuse_open(image, "rolled back")
    builder.add(changes.RollBack(name), f"roll {builder.name} back to {name}", destroys=True)
    builder.size = target.size


def _resize(builder: _RbdPlan, image: RbdImage) -> None:
    desired, current = builder.desired, builder.size
    size = desired.size
    # QEMU cannot tell the size of an encrypted image in the trash; the next run sees it.
    if size is None or current is None or size == current:
        return
    if size < current:
        _refuse_shrinking(builder, image, size, current)
    elif image.watchers and not desired.monitor:
        _refuse_two_writers(builder, image)
        builder.warnings.append(
            f"{builder.name} is open at {_join(image.watchers)}: a guest sees the new size after its VM is restarted, "
            "or at once if monitor and node of that VM are set"
        )
    verb = "grow" if size > current else "shrink"
    description = f"{verb} {builder.name} from {in_words(current, size)} to {in_words(size, current)}"
    builder.add(changes.ResizeImage(size, current), description, destroys=size < current)
    builder.size = size


def _refuse_shrinking(builder: _RbdPlan, image: RbdImage, size: int, current: int) -> None:
    if not builder.desired.provision["allow_shrink"]:
        raise DeclarationError(
            "size",
            f"{builder.name} has {in_words(current, size)}, and would lose what is beyond {in_words(size, current)}; "
            "set allow_shrink: true, or a larger size",
        )
    builder.refuse_open(image, "shrunk")


def _refuse_two_writers(builder: _RbdPlan, image: RbdImage) -> None:
    if is_translated(builder.desired.disk):
        raise DeclarationError(
            "size",
            f"{builder.name} is open at {_join(image.watchers)}, and its format must not have two writers; "
            "set monitor and node of that VM, or stop it",
        )


def _flatten(builder: _RbdPlan, image: RbdImage) -> RbdImage:
    if not builder.desired.provision["flatten"] or not image.parent:
        return image
    builder.add(changes.Flatten(), f"copy into {builder.name} what it shares with {image.parent}")
    return replace(image, parent="")


def _metadata(builder: _RbdPlan, image: RbdImage) -> RbdImage:
    metadata = _texts(builder, "metadata", image.metadata, changes.SetMetadata)
    image_config = _texts(builder, "image_config", image.image_config, changes.SetConfiguration)
    return replace(image, metadata=metadata, image_config=image_config)


def _texts(
    builder: _RbdPlan,
    option: str,
    current: Mapping[str, str],
    kind: type[changes.SetMetadata] | type[changes.SetConfiguration],
) -> dict[str, str]:
    after = dict(current)
    for key, text in sorted(texts_of(builder.desired.provision.get(option, {})).items()):
        if after.get(key) == text:
            continue
        if text is None:
            builder.add(kind(key, None), f"remove {option} {key} of {builder.name}")
            after.pop(key)
        else:
            builder.add(kind(key, text), f"set {option} {key} of {builder.name} to {text}")
            after[key] = text
    return after


def _snapshots(builder: _RbdPlan, image: RbdImage) -> RbdImage:
    after = {snapshot.name: snapshot for snapshot in image.snapshots}
    for declared in builder.desired.provision.get("snapshots", ()):
        name, current = declared["name"], after.get(declared["name"])
        full_name = f"{builder.name}@{name}"
        if declared["state"] == "absent":
            if current:
                _remove_snapshot(builder, current, full_name, unprotect=declared.get("protected") is False)
                del after[name]
            continue
        if not current:
            builder.add(changes.TakeSnapshot(name), f"take the snapshot {full_name}")
            current = Snapshot(name)
        after[name] = _protect(builder, current, full_name, declared.get("protected", current.protected))
    return replace(image, snapshots=tuple(sorted(after.values(), key=lambda snapshot: snapshot.name)))


def _remove_snapshot(builder: _RbdPlan, current: Snapshot, full_name: str, *, unprotect: bool) -> None:
    _refuse_children(full_name, current.children, "removed")
    if current.protected:
        if not unprotect:
            raise DeclarationError(full_name, "is not removed: it is protected; set protected: false beside absent")
        _protect(builder, current, full_name, False)
    builder.add(changes.RemoveSnapshot(current.name), f"remove the snapshot {full_name}", destroys=True)


def _protect(builder: _RbdPlan, current: Snapshot, full_name: str, protected: bool) -> Snapshot:
    if current.protected == protected:
        return current
    if not protected:
        _refuse_children(full_name, current.children, "unprotected")
    verb = "protect" if protected else "unprotect"
    builder.add(changes.ProtectSnapshot(current.name, protected), f"{verb} {full_name}")
    return replace(current, protected=protected)


def _join(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
