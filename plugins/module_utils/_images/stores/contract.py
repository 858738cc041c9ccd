# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The contract that a file under ``_images/stores/`` fills in: storage in which an image is a file among others.

An image is created under another name and renamed when it is whole, so that an unfinished image is never used.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Callable, Protocol

from ansible_collections.directdisk.qemu.plugins.module_utils._access.workbench import Workbench
from ansible_collections.directdisk.qemu.plugins.module_utils._access.workspace import Workspace
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.values import Node
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.image.file_storage import (
    FILE_STORAGE,
    FileStorage,
)


class Files(Protocol):
    """Operations on the files of a storage; HostError with the storage's own message if one fails."""

    def kind(self, path: str) -> str:
        """Return file, directory, other or missing."""

    def folder(self, path: str) -> str:
        """Return the kind of a file's folder."""

    def make(self, path: str) -> None:
        """Create an empty file that only its owner can read; AlreadyExistsError if it exists."""

    def put(self, path: str, place: str, *, overwrite: bool) -> None:
        """Rename a file atomically; AlreadyExistsError if the name is taken and must not be overwritten."""

    def remove(self, path: str) -> None:
        """Remove a file, if it exists."""


class Create(Protocol):
    """Gives a new, empty file its bytes."""

    def __call__(self, disk: Disk, bench: Workbench, size: int, preallocation: str, *, seconds: float) -> None:
        """Write them within some seconds."""


def by_driver(options: Callable[[Node, int, str], Mapping[str, Any]]) -> Create:
    """Let QEMU's driver create the image; options: to QAPI BlockdevCreateOptions, from the disk's protocol node."""

    def create(disk: Disk, bench: Workbench, size: int, preallocation: str, *, seconds: float) -> None:
        bench.create(disk, lambda node: options(node, size, preallocation), seconds=seconds)

    return create


@dataclass(frozen=True)
class Store:
    """The functions that reach the files of a backend and create images in them."""

    backend: str
    files: Callable[[Disk, Workspace], contextlib.AbstractContextManager[Files]]
    create: Create
    """Give the new file of a disk its bytes."""
    resize: Callable[[Disk, Workbench, int], None] | None = None
    """Change the size of a file; None if QEMU does."""
    free: Callable[[Disk, Workbench], int | None] | None = None
    """Return the free bytes where a disk is, if its errors do not tell a lack of space; None if it is not known."""

    @property
    def storage(self) -> FileStorage:
        return FILE_STORAGE[self.backend]
