# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images that QEMU's own drivers create and grow: files, volumes of a fixed size, and read-only images."""

from __future__ import annotations

from typing import Any, Callable, NamedTuple

from ansible_collections.directdisk.qemu.plugins.module_utils._access.workbench import Workbench
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.image_format import FORMAT_OPTIONS
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError
from ansible_collections.directdisk.qemu.plugins.module_utils._images.contract import (
    Actions,
    DesiredImage,
    ImagePlan,
    Lifecycle,
    ObservedImage,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._images.image import file, readonly_image, volume
from ansible_collections.directdisk.qemu.plugins.module_utils._images.stores.registry import STORES
from ansible_collections.directdisk.qemu.plugins.module_utils._images.volume import blank
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
    blank.OPTION,
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


class _Kind(NamedTuple):
    """The functions for one kind of storage."""

    check: Callable[[DesiredImage], None]
    observe: Callable[[DesiredImage, Workbench], ObservedImage]
    plan: Callable[[DesiredImage, Any], ImagePlan]


_FILE = _Kind(file.check, file.observe, file.plan)
_VOLUME = _Kind(volume.check, volume.observe, volume.plan)
_READONLY = _Kind(readonly_image.check, readonly_image.observe, readonly_image.plan)


def _kind(desired: DesiredImage) -> _Kind:
    disk = desired.disk
    if not disk.backend.source.writable or disk.backend.source.why_read_only(disk.source):
        return _READONLY
    return _FILE if disk.backend.name in STORES else _VOLUME


def _check(desired: DesiredImage) -> None:
    for option in _OF_URLS:
        disks = (desired.disk, *((desired.disk.origin,) if desired.disk.origin and option in _OF_SOURCES else ()))
        if desired.provision.get(option) and not any(disk.backend.access.stage for disk in disks):
            raise DeclarationError(option, "is for images behind a url")
    kind = _kind(desired)
    if "blank_check" in desired.provision and kind is not _VOLUME:
        raise DeclarationError("blank_check", f"is for disks of a fixed size, not for {desired.disk.backend.name}")
    kind.check(desired)


def _observe(desired: DesiredImage, bench: Workbench) -> ObservedImage:
    return _kind(desired).observe(desired, bench)


def _plan(desired: DesiredImage, observed: Any) -> ImagePlan:
    return _kind(desired).plan(desired, observed)


_ACTIONS: Actions = {
    **file.ACTIONS,
    **volume.ACTIONS,
    **readonly_image.ACTIONS,
}

LIFECYCLE = Lifecycle("image", OPTIONS, _check, _observe, _plan, _ACTIONS)
