# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Observed states of images that QEMU's own drivers make and grow, by the kind of their storage. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar

from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.image_format import CLUSTER_SIZE
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.contract import (
    INTERNAL,
    DesiredImage,
    ObservedImage,
)


@dataclass(frozen=True)
class ObservedContent(ObservedImage):
    """State of an image that all kinds of storage have in common."""

    encrypted: bool | None = None
    cluster_size: int | None = None
    backing: str | None = None
    """The backing file that a qcow2's header names; empty if it has none."""
    sha256: str | None = None
    errors: int | None = None
    leaks: int | None = None
    """Results of qemu-img check."""
    problem: str | None = None
    """Reason why the image is not what is declared."""


@dataclass(frozen=True)
class ObservedFile(ObservedContent):
    """State of an image that is a file, and of its surroundings where it is made or removed."""

    folder: str = field(default="", metadata=INTERNAL)
    """Kind of the folder that the image is in."""
    unfinished: str = field(default="", metadata=INTERNAL)
    """Path of the unfinished image that an interrupted run of this host left."""
    fixed_by: str = field(default="", metadata=INTERNAL)
    """The route by which QEMU reaches the image, if the file does not grow by it."""
    source_size: int | None = field(default=None, metadata=INTERNAL)


@dataclass(frozen=True)
class ObservedVolume(ObservedContent):
    """State of a volume: a device, an export or a VDI, whose size is fixed."""

    content: str | None = None
    """blank, unfinished or data."""
    capacity: int = field(default=0, metadata=INTERNAL)
    in_use: str = field(default="", metadata=INTERNAL)
    """Device of the volume that the host itself uses."""
    needs_format: bool = field(default=False, metadata=INTERNAL)
    source_size: int | None = field(default=None, metadata=INTERNAL)
    data_at: int | None = field(default=None, metadata=INTERNAL)
    """Offset of data that only a full read found."""


@dataclass(frozen=True)
class ObservedReadonly(ObservedContent):
    """State of an image that can only be read, and of this host's copy of it."""

    etag: str | None = None
    last_modified: str | None = None
    staged: bool | None = None
    """This host has a copy."""
    stale: bool | None = None
    """The server has another image than the copy."""
    uses_copy: bool = field(default=False, metadata=INTERNAL)
    """This host reads the image by route stage."""
    warnings: tuple[str, ...] = field(default=(), metadata=INTERNAL)


Kind = TypeVar("Kind", bound=ObservedContent)


def predict_content(kind: type[Kind], desired: DesiredImage, size: int, opened_by: tuple[str, ...] | None) -> Kind:
    """Return the state of an image that will have been made as declared."""
    disk, provision = desired.disk, desired.provision
    is_qcow2 = disk.settings["format"] == "qcow2"
    checked = 0 if is_qcow2 and provision["check"] else None
    return kind(
        exists=True,
        size=size,
        format=disk.settings["format"],
        opened_by=opened_by,
        encrypted="luks" in disk.settings,
        cluster_size=provision.get("cluster_size", CLUSTER_SIZE) if is_qcow2 else None,
        backing=provision.get("backing", {}).get("file", "") if is_qcow2 else None,
        sha256=provision.get("sha256"),
        errors=checked,
        leaks=checked,
    )
