# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Size and layout of a new rbd image. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.contract import DesiredImage
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.rbd.observed import (
    CloneSource,
    Layout,
    NewImage,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.rbd.options import SECTOR
from ansible_collections.directdisk.qemu.plugins.module_utils._options.read import in_words

TWINS = frozenset({"object-map", "fast-diff"})
"""Ceph turns on both if either is turned on."""


def size_of_new(desired: DesiredImage, new: NewImage) -> int:
    """Return the bytes that a guest must see of a new image."""
    size, minimum = desired.size, new.source_size
    if size is None and not minimum:
        raise DeclarationError("size", f"is required, because {desired.disk.described} does not exist yet")
    if size is None:
        return -(-minimum // SECTOR) * SECTOR
    if size < minimum:
        raise DeclarationError(
            "size", f"{in_words(size, minimum)} is less than the {in_words(minimum, size)} of source"
        )
    return size


def layout_of_new(desired: DesiredImage, new: NewImage) -> Layout:
    """Return the layout of a new image, completed from the pool's configuration; refuse what Ceph cannot create."""
    provision, defaults, clone = desired.provision, new.defaults, new.clone
    object_size = provision.get("object_size", clone.object_size if clone else defaults.object_size)
    striped = "stripe_unit" in provision or defaults.stripe_unit
    unit = provision.get("stripe_unit", defaults.stripe_unit) if striped else object_size
    count = provision.get("stripe_count", defaults.stripe_count) if striped else 1
    if object_size % unit:
        raise DeclarationError("stripe_unit", f"{unit} does not divide the {object_size} bytes of an object")
    pool = provision.get("data_pool", defaults.data_pool)
    features = complete_features(provision.get("features", defaults.features))
    features |= {"striping"} if (unit, count) != (object_size, 1) else set()
    features |= {"data-pool"} if pool else set()
    _refuse_unclear_encryption(desired)
    if clone:
        _refuse_unprotected(clone)
        if "layering" not in features:
            raise DeclarationError("features", "a clone needs layering; add it")
    return Layout(tuple(sorted(features)), object_size, unit, count, pool)


def complete_features(features: Iterable[str]) -> set[str]:
    """Return the features with the twin of each."""
    declared = set(features)
    return declared | TWINS if declared & TWINS else declared


def _refuse_unclear_encryption(desired: DesiredImage) -> None:
    encryption = desired.disk.source.get("encryption", {})
    if encryption.get("format") == "luks-any":
        raise DeclarationError("encryption", "a new image needs format luks or luks2, not luks-any")
    if "parent" in encryption:
        raise DeclarationError("encryption", "parent is for a clone that exists; leave it out")


def _refuse_unprotected(clone: CloneSource) -> None:
    if clone.clone_format == 1 and not clone.protected:
        raise DeclarationError(
            "source",
            f"{clone.parent} is not protected, which this cluster requires of a snapshot with clones; set protected: "
            "true for it, or config: {rbd_default_clone_format: 2} if no client is older than Ceph 13.2",
        )
