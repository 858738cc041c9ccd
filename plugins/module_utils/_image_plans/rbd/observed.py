# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Observed state of an rbd image and of what a new one depends on. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.contract import (
    INTERNAL,
    MERGED,
    ObservedImage,
)


@dataclass(frozen=True)
class Layout:
    """Layout of an image's data, which is fixed when the image is created; some features can be changed."""

    features: tuple[str, ...]
    object_size: int
    stripe_unit: int
    stripe_count: int
    data_pool: str


@dataclass(frozen=True)
class Snapshot:
    """A snapshot of an image, with the clones of it."""

    name: str
    protected: bool = False
    children: tuple[str, ...] = ()


@dataclass(frozen=True)
class RbdImage:
    """State of an image that exists."""

    layout: Layout = field(metadata=MERGED)
    parent: str = ""
    """The snapshot that it is a clone of; empty if it is not a clone."""
    children: tuple[str, ...] = ()
    snapshots: tuple[Snapshot, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    image_config: Mapping[str, str] = field(default_factory=dict)
    watchers: tuple[str, ...] = ()
    lock: str = ""
    """Address of the client that holds the exclusive lock."""


@dataclass(frozen=True)
class Incomplete:
    """An unfinished image of this host, or a name that an interrupted rename left."""

    watchers: tuple[str, ...]


@dataclass(frozen=True)
class RollbackTarget:
    """A snapshot compared with the image."""

    equal: bool
    size: int


@dataclass(frozen=True)
class CloneSource:
    """A snapshot in the same cluster that a new image can be a clone of."""

    parent: str
    protected: bool
    object_size: int
    metadata: Mapping[str, str]
    image_config: Mapping[str, str]
    clone_format: int
    """Ceph's version of clones; with 1 a parent must be protected."""


@dataclass(frozen=True)
class NewImage:
    """Facts that a new image depends on."""

    defaults: Layout
    """The pool's configuration; a stripe_unit of 0 means no striping."""
    source_size: int = 0
    clone: CloneSource | None = None
    """None if the source must be copied, or there is none."""


@dataclass(frozen=True)
class ObservedRbd(ObservedImage):
    """State of the storage of one rbd disk."""

    stored_size: int | None = None
    """Bytes of the image, if a guest sees another number."""
    image: RbdImage | None = field(default=None, metadata=MERGED)
    incomplete: Incomplete | None = None
    identifier: str = field(default="", metadata=INTERNAL)
    not_raw: str = field(default="", metadata=INTERNAL)
    """Reason why the bytes are not the declared raw disk; empty if they may be."""
    rollback: RollbackTarget | None = field(default=None, metadata=INTERNAL)
    half_renamed: bool = field(default=False, metadata=INTERNAL)
    """An interrupted rename left two names of this image."""
    abandoned: tuple[str, ...] = field(default=(), metadata=INTERNAL)
    """Unfinished images of other hosts that no client has open."""
    former: FormerImage | None = field(default=None, metadata=INTERNAL)
    new: NewImage | None = field(default=None, metadata=INTERNAL)


@dataclass(frozen=True)
class FormerImage:
    """The image under its former name, or in the trash."""

    observed: ObservedRbd
    name: str = ""
    """The former name; empty if the image is in the trash."""
    trash_id: str = ""
