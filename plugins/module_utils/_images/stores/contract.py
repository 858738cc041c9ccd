# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The contract that a file under ``_images/stores/`` fills in: storage in which an image is a file among others.

An image is made beside its place and put there when it is whole, so that nothing unfinished looks finished.
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
    """The files of a storage. HostError with the words of the storage where it refuses."""

    def kind(self, path: str) -> str:
        """file, directory, other or missing."""

    def folder(self, path: str) -> str:
        """What kind is the folder that a file is in."""

    def make(self, path: str) -> None:
        """An empty file for its owner alone; AlreadyExistsError where there is one."""

    def put(self, path: str, place: str, *, overwrite: bool) -> None:
        """Rename a file atomically; AlreadyExistsError if the name is taken and may not be overwritten."""

    def remove(self, path: str) -> None:
        """Remove a file; nothing where there is none."""


@dataclass(frozen=True)
class Store:
    """How a kind of storage keeps images as files."""

    backend: str
    option: str
    """The backend's option that has the path."""
    files: Callable[[Disk, Workspace], contextlib.AbstractContextManager[Files]]
    create: Callable[[Node, int, str], Mapping[str, Any]]
    """From protocol node, bytes and preallocation to QAPI BlockdevCreateOptions."""
    preallocations: tuple[str, ...] = ("off",)
    """What of O(preallocation) the storage itself can do."""
    shrinks: bool = True
    locks: bool = False
    """Whether QEMU locks an image there that it has open."""

    def path(self, disk: Disk) -> str:
        return str(disk.source[self.option])

    def at(self, disk: Disk, path: str) -> Disk:
        """The same disk at another path."""
        return replace(disk, source={**disk.source, self.option: path})
