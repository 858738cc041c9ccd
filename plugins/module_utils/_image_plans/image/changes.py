# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Changes of images that are files, and of this host's copies of images. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.contract import Change


@dataclass(frozen=True)
class CreateImage(Change):
    """Create an image of ``size`` bytes, or replace the one that exists."""

    size: int
    overwrite: bool = False


@dataclass(frozen=True)
class ResizeImage(Change):
    """Grow or shrink an image to ``size`` bytes."""

    size: int


@dataclass(frozen=True)
class RemoveImage(Change):
    """Remove an image."""


@dataclass(frozen=True)
class RemoveUnfinished(Change):
    """Remove the unfinished image that an interrupted run left."""

    path: str


@dataclass(frozen=True)
class FetchCopy(Change):
    """Fetch an image into this host's cache, in place of the copy that exists."""


@dataclass(frozen=True)
class RemoveCopy(Change):
    """Remove this host's copy of an image."""
