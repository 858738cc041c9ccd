# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Storage in which an image is a file among others: what it can do, by backend. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk


@dataclass(frozen=True)
class FileStorage:
    """Abilities of storage that keeps images as files."""

    option: str
    """Option of the backend that holds the path."""
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


FILE_STORAGE = {
    "file": FileStorage("filename", preallocations=("off", "falloc", "full"), locks=True),
    "gluster": FileStorage("path", preallocations=("off", "falloc", "full")),
    "nfs": FileStorage("path"),
    "ssh": FileStorage("path", shrinks=False),
}
"""By the backend's name. A backend that is not here has disks that its server makes."""
