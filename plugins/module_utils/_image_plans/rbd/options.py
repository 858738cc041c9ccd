# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of an rbd image, and checks for contradictions. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._backends.rbd.options import name_option
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.values import Values
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.image_format import has_format
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.contract import (
    HOST_MARK_LENGTH,
    DesiredImage,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._options.option import Option

SECTOR = 512
"""Bytes of QEMU's sector: a guest would see another size rounded up."""

OF_THE_IMAGE = ("pool", "namespace", "image", "snapshot", "encryption")
"""Options of the backend that name an image; the others name the cluster and the user."""

PART = ".directdisk-part-"
"""Precedes the mark of a host in the name of that host's unfinished image."""

_PART_NAME = re.compile(rf"{re.escape(PART)}[0-9a-f]{{{HOST_MARK_LENGTH}}}$")

OPTIONS = (
    Option(
        "features",
        "Features of the image. The default is the pool's or the cluster's configuration for a new image, and no "
        "change for one that exists. V(object-map) and V(fast-diff) are always set together.",
        "list",
        pattern="layering|exclusive-lock|object-map|fast-diff|deep-flatten|journaling",
        pattern_help="is not one of layering, exclusive-lock, object-map, fast-diff, deep-flatten and journaling",
    ),
    Option(
        "object_size",
        "Size of the objects of a new image: a power of two from 4KiB to 32MiB. The default is the cluster's "
        "configuration, mostly 4MiB. It cannot be changed later.",
        "size",
        minimum=4096,
        maximum=32 * 1024**2,
    ),
    name_option(
        "data_pool",
        "Pool for the data of a new image, such as an erasure-coded one; O(pool) has the rest. It cannot be changed.",
    ),
    Option(
        "stripe_unit",
        "Stripe unit of a new image: bytes written to one object before the next. Requires O(stripe_count).",
        "size",
        minimum=SECTOR,
    ),
    Option(
        "stripe_count",
        "Stripe count of a new image: the number of objects that it is striped over.",
        "int",
        minimum=1,
        maximum=65536,
    ),
    Option(
        "thick",
        "Write a new image full of zeroes, so that its space is allocated (thick provisioning).",
        "bool",
        default=False,
    ),
    Option(
        "flatten",
        "Flatten a clone: copy what it shares with its parent, so that it no longer depends on it.",
        "bool",
        default=False,
    ),
    Option("allow_shrink", "Shrink an image that is larger than O(size); its end is lost.", "bool", default=False),
    Option(
        "snapshots",
        "Snapshots of the image; other snapshots are not changed.",
        "list",
        elements="dict",
        options=(
            name_option("name", "Name of the snapshot.", required=True),
            Option("state", "Desired state of the snapshot.", choices=("present", "absent"), default="present"),
            Option(
                "protected",
                "Protect the snapshot from removal, which clusters with clients older than Ceph 13.2 require of a "
                "snapshot with clones. The default is no change.",
                "bool",
            ),
        ),
    ),
    name_option(
        "rollback",
        "Name of a snapshot to roll back to: if the image differs from it, everything written since is lost. "
        "Use it in a task of its own, because every run with it rolls back.",
    ),
    Option("metadata", "Metadata of the image: text by key, or null to remove a key.", "any", holds="values by name"),
    Option(
        "image_config",
        "Options of Ceph's client for all users of this image, such as C(rbd_cache) or C(rbd_qos_iops_limit): "
        "values by name, or null to return to the pool's value.",
        "any",
        holds="values by name",
    ),
    name_option(
        "renamed_from",
        "Former name of the image: if an image of that name exists and O(image) does not, it is renamed.",
    ),
    Option("trash", "With O(state=absent), move the image to the trash instead of deleting it.", "bool", default=False),
    Option(
        "trash_seconds",
        "Seconds for which an image in the trash cannot be deleted.",
        "int",
        default=0,
        minimum=0,
        maximum=10 * 366 * 86400,
    ),
    Option(
        "restore", "Take an image of this name out of the trash instead of creating a new one.", "bool", default=False
    ),
    Option(
        "with_snapshots",
        "With O(state=absent), also remove the image's snapshots, even protected ones. Without it, an image with "
        "snapshots is not removed.",
        "bool",
        default=False,
    ),
    Option(
        "force",
        "Remove, rename, shrink or roll back an image while a client has it open; what that client writes may be lost. "
        "For a removal the watchers are blocklisted: they lose all their images of this cluster.",
        "bool",
        default=False,
    ),
)


def check(desired: DesiredImage) -> None:
    """Raise DeclarationError for what no cluster can do."""
    _check_size("size", desired.size)
    for problem in (_check_place, _check_layout, _check_snapshots, _check_metadata, _check_removal):
        problem(desired)


def _check_size(name: str, size: int | None) -> None:
    if size is not None and size % SECTOR:
        nearest = -(-size // SECTOR) * SECTOR
        raise DeclarationError(name, f"{size} is not a multiple of {SECTOR} bytes, QEMU's sector; set {nearest}")


def _check_place(desired: DesiredImage) -> None:
    source, provision = desired.disk.source, desired.provision
    if "snapshot" in source and desired.state == "absent":
        raise DeclarationError("snapshot", "is read-only; to remove one, list it in snapshots with state: absent")
    if _PART_NAME.search(source["image"]):
        raise DeclarationError("image", f"ends with {PART} and a host's mark, as only unfinished images do")
    if bool(desired.monitor) != bool(desired.node):
        raise DeclarationError("monitor", "monitor and node are required together")
    if provision.get("renamed_from") == source["image"]:
        raise DeclarationError("renamed_from", "is the name of the image itself")


def _check_layout(desired: DesiredImage) -> None:
    provision = desired.provision
    size = provision.get("object_size", 4096)
    if size & (size - 1):
        raise DeclarationError("object_size", f"{size} is not a power of two")
    if ("stripe_unit" in provision) != ("stripe_count" in provision):
        raise DeclarationError("stripe_unit", "stripe_unit and stripe_count are required together")
    features = set(provision.get("features", ()))
    if features & {"object-map", "fast-diff", "journaling"} and "exclusive-lock" not in features:
        raise DeclarationError("features", "object-map, fast-diff and journaling need exclusive-lock")
    if provision["thick"] and (desired.disk.origin or is_translated(desired.disk)):
        raise DeclarationError(
            "thick", "is for a blank raw image; leave it out, or source, format, luks and encryption"
        )


def is_part_of(name: str, image: str) -> bool:
    """Tell if a name is that of an unfinished image, of whatever host, that is to become this image."""
    return bool(_PART_NAME.search(name)) and _PART_NAME.sub("", name) == image


def is_translated(disk: Disk) -> bool:
    """Tell if a guest sees other bytes than the image has."""
    return has_format(disk) or "encryption" in disk.source


def at(disk: Disk, **place: str) -> Disk:
    """Return the disk with another image or snapshot."""
    return replace(disk, source={**disk.source, **place})


def _check_snapshots(desired: DesiredImage) -> None:
    snapshots = desired.provision.get("snapshots", ())
    names = [snapshot["name"] for snapshot in snapshots]
    for snapshot in snapshots:
        where = f"snapshots: {snapshot['name']}"
        if names.count(snapshot["name"]) > 1:
            raise DeclarationError(where, "is there twice")
        if snapshot["state"] == "absent" and snapshot.get("protected"):
            raise DeclarationError(where, "cannot be absent and protected")
        if snapshot["state"] == "absent" and snapshot["name"] == desired.provision.get("rollback"):
            raise DeclarationError(where, "cannot be absent: it is the target of rollback")


def _check_metadata(desired: DesiredImage) -> None:
    for option in ("metadata", "image_config"):
        declared = desired.provision.get(option, {})
        if not isinstance(declared, Mapping):
            raise DeclarationError(option, "is not a mapping of names to values")
        for key, value in declared.items():
            where = f"{option}: {key}"
            if not isinstance(key, str) or not key:
                raise DeclarationError(where, "is not a name")
            if value is not None and not isinstance(value, (str, int, float)):
                raise DeclarationError(where, "is neither text nor a number nor true or false")
            if option == "image_config" and not re.fullmatch("rbd_[a-z0-9_]+", key):
                raise DeclarationError(where, "is not the name of an option of rbd's client; those start with rbd_")
            if option == "metadata" and key.startswith("conf_"):
                raise DeclarationError(where, f"is configuration: write image_config: {{{key[5:]}: ...}}")


def _check_removal(desired: DesiredImage) -> None:
    provision = desired.provision
    if provision["trash_seconds"] and not provision["trash"]:
        raise DeclarationError("trash_seconds", "is for trash: true")


def texts_of(declared: Values) -> dict[str, str | None]:
    """Return metadata as it is stored; None for keys that are to be removed."""
    return {key: None if value is None else _text(value) for key, value in declared.items()}


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
