# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Changes of rbd images. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.contract import Change
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.rbd.observed import Layout


@dataclass(frozen=True)
class RemoveUnfinished(Change):
    """Remove this host's unfinished image of an interrupted run."""


@dataclass(frozen=True)
class RemoveAbandoned(Change):
    """Remove the unfinished image of another host."""

    name: str


@dataclass(frozen=True)
class FinishRename(Change):
    """Finish an interrupted rename."""


@dataclass(frozen=True)
class CreateImage(Change):
    """Create an image of ``size`` bytes, empty, as a copy of its source or as a clone of it."""

    size: int
    layout: Layout
    clone: bool = False
    initial_size: int = 0
    """Bytes that a guest sees of a new clone, before it is resized."""


@dataclass(frozen=True)
class RenameImage(Change):
    """Rename the image that has a former name."""

    former_name: str


@dataclass(frozen=True)
class RestoreImage(Change):
    """Take an image out of the trash."""

    trash_id: str


@dataclass(frozen=True)
class SetFeatures(Change):
    """Turn features on or off."""

    names: tuple[str, ...]
    enabled: bool


@dataclass(frozen=True)
class RollBack(Change):
    """Roll the image back to a snapshot."""

    snapshot: str


@dataclass(frozen=True)
class ResizeImage(Change):
    """Grow or shrink the image, in bytes that a guest sees."""

    size: int
    former_size: int


@dataclass(frozen=True)
class Flatten(Change):
    """Copy into a clone what it shares with its parent."""


@dataclass(frozen=True)
class SetMetadata(Change):
    """Set the text of a key, or remove the key."""

    key: str
    text: str | None


@dataclass(frozen=True)
class SetConfiguration(Change):
    """Set an option of Ceph's client for this image, or remove it."""

    key: str
    text: str | None


@dataclass(frozen=True)
class TakeSnapshot(Change):
    """Take a snapshot."""

    name: str


@dataclass(frozen=True)
class RemoveSnapshot(Change):
    """Remove a snapshot."""

    name: str


@dataclass(frozen=True)
class ProtectSnapshot(Change):
    """Protect or unprotect a snapshot."""

    name: str
    protected: bool


@dataclass(frozen=True)
class MoveToTrash(Change):
    """Move the image to the trash, where it cannot be deleted for some seconds."""

    seconds: int


@dataclass(frozen=True)
class RemoveImage(Change):
    """Remove the image."""
