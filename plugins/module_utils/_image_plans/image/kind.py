# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images that QEMU's own drivers create and grow: files, volumes of a fixed size, and read-only images. Pure."""

from __future__ import annotations

from enum import Enum
from typing import Any, Callable, NamedTuple

from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.image_format import FORMAT_OPTIONS
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.contract import (
    DesiredImage,
    ImageKind,
    ImagePlan,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.image import (
    file_plan,
    readonly_plan,
    volume_plan,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.image.file_storage import FILE_STORAGE
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.volume import blank_check
from ansible_collections.directdisk.qemu.plugins.module_utils._options.option import Option
from ansible_collections.directdisk.qemu.plugins.module_utils._routes import stage

OPTIONS = (
    *FORMAT_OPTIONS,
    Option("allow_shrink", "Shrink an image that is larger than O(size); its end is lost.", "bool"),
    Option(
        "overwrite",
        "Replace an image that is not what is declared: another format, or another digest than O(sha256). Its data is "
        "lost.",
        "bool",
    ),
    Option(
        "force",
        "Remove, shrink or overwrite an image even while a VM of this host has it open.",
        "bool",
    ),
    Option(
        "unused",
        "Confirm that no VM of any host has the image open. Required to remove, shrink or overwrite an image on "
        "storage that cannot tell, such as nfs, ssh, gluster, nbd and sheepdog. VMs of this host are checked anyway.",
        "bool",
    ),
    Option(
        "sha256",
        "Digest of the image as it is stored. A new image is checked before it gets its name; an existing one is read "
        "whole and checked in each run, so this is for images that nobody writes to.",
        "hex",
        pattern="[0-9a-f]{64}",
        pattern_help="is not a sha256: 64 hexadecimal digits",
    ),
    Option(
        "check",
        "Run qemu-img check on a qcow2 that no VM of this host has open; a corrupt image is an error.",
        "bool",
        default=False,
    ),
    Option(
        "virtual_size",
        "Required bytes for a guest, for storage that is read-only or has a fixed size and so cannot have O(size); "
        "another size is an error.",
        "size",
    ),
    blank_check.OPTION,
    Option("etag", "Required ETag of an image behind a url; another ETag is an error."),
    Option("last_modified", "Required Last-Modified of an image behind a url; another value is an error."),
    *stage.OPTIONS,
    Option(
        "refresh",
        "Fetch an image by route stage again if the server's ETag, Last-Modified or length differs from the copy's; "
        "without it this is a warning. An overlay on the old image does not fit the new one.",
        "bool",
    ),
)


_OF_URLS = ("etag", "last_modified", "follow", "refresh")
_OF_SOURCES = ("follow",)
"""Options for the url of a disk, or for that of its source."""


class StorageKind(Enum):
    """The storage that holds an image."""

    FILE = "file"
    VOLUME = "volume"
    READ_ONLY = "read-only"


class _Planner(NamedTuple):
    check: Callable[[DesiredImage], None]
    plan: Callable[[DesiredImage, Any], ImagePlan]


_PLANNERS = {
    StorageKind.FILE: _Planner(file_plan.check, file_plan.plan),
    StorageKind.VOLUME: _Planner(volume_plan.check, volume_plan.plan),
    StorageKind.READ_ONLY: _Planner(readonly_plan.check, readonly_plan.plan),
}


def storage_of(desired: DesiredImage) -> StorageKind:
    disk = desired.disk
    if not disk.backend.source.writable or disk.backend.source.why_read_only(disk.source):
        return StorageKind.READ_ONLY
    return StorageKind.FILE if disk.backend.name in FILE_STORAGE else StorageKind.VOLUME


def _check(desired: DesiredImage) -> None:
    for option in _OF_URLS:
        disks = (desired.disk, *((desired.disk.origin,) if desired.disk.origin and option in _OF_SOURCES else ()))
        if desired.provision.get(option) and not any(disk.backend.access.stage for disk in disks):
            raise DeclarationError(option, "is for images behind a url")
    storage = storage_of(desired)
    if "blank_check" in desired.provision and storage is not StorageKind.VOLUME:
        raise DeclarationError("blank_check", f"is for disks of a fixed size, not for {desired.disk.backend.name}")
    _PLANNERS[storage].check(desired)


def _plan(desired: DesiredImage, observed: Any) -> ImagePlan:
    return _PLANNERS[storage_of(desired)].plan(desired, observed)


KIND = ImageKind("image", OPTIONS, _check, _plan)
