# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The contract that a file under ``_images/stores/`` fills in: storage in which an image is a file among others.

An image is created under another name and renamed when it is whole, so that an unfinished image is never used.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Callable, Protocol

from ansible_collections.directdisk.qemu.plugins.module_utils._access.workspace import Workspace
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.values import Node
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk


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


@dataclass(frozen=True)
class Store:
    """Storage that keeps images as files."""

    backend: str
    option: str
    """Option of the backend that holds the path."""
    files: Callable[[Disk, Workspace], contextlib.AbstractContextManager[Files]]
    create: Callable[[Node, int, str], Mapping[str, Any]]
    """From protocol node, bytes and preallocation to QAPI BlockdevCreateOptions."""
    preallocations: tuple[str, ...] = ("off",)
    """Values of O(preallocation) that the storage supports."""
    shrinks: bool = True
    locks: bool = False
    """QEMU locks an image that it has open."""

    def path(self, disk: Disk) -> str:
        return str(disk.source[self.option])

    def at(self, disk: Disk, path: str) -> Disk:
        """Return the disk with another path."""
        return replace(disk, source={**disk.source, self.option: path})
