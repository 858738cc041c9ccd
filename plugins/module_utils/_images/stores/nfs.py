# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images as files on an NFS server, by the library with which QEMU speaks to it."""

from __future__ import annotations

import contextlib
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._access.confinement import confinement
from ansible_collections.directdisk.qemu.plugins.module_utils._access.workspace import Workspace
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.nfs import BACKEND
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.values import Node, Values
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._images.stores.contract import Store, by_driver
from ansible_collections.directdisk.qemu.plugins.module_utils._images.stores.program_files import ProgramFiles
from ansible_collections.directdisk.qemu.plugins.module_utils._process.run import run_program
from ansible_collections.directdisk.qemu.plugins.module_utils._programs import libnfs


class _NfsFiles(ProgramFiles):
    """Files on an NFS server. Like QEMU, it mounts the image's folder, so the export need not be known."""

    def __init__(self, values: Values, seconds: float, begin: Sequence[str]) -> None:
        self._values = values
        self._seconds = seconds
        self._begin = begin

    def folder(self, path: str) -> str:
        # A missing folder cannot be mounted.
        self.kind(path)
        return "directory"

    def ask(self, operation: str, *paths: str) -> str:
        user, group = (str({**BACKEND.access.root_members, **self._values}[option]) for option in ("user", "group"))
        folder = posixpath.dirname(paths[0]) or "/"
        names = [f"/{posixpath.basename(path)}" for path in paths]
        arguments = (self._values["host"], folder, user, group, f"{self._seconds:.0f}", operation, *names)
        return run_program(libnfs, arguments, seconds=self._seconds, begin=self._begin)


@contextlib.contextmanager
def _files(disk: Disk, bench: Workspace) -> Iterator[_NfsFiles]:
    yield _NfsFiles(
        disk.source, bench.open_timeout, bench.confined(confinement(disk.backend.access.reach(disk.source)))
    )


def _create(node: Node, size: int, preallocation: str) -> Mapping[str, Any]:
    del preallocation
    location = {key: node[key] for key in ("server", "path", "user", "group") if key in node}
    return {"driver": "nfs", "location": location, "size": size}


STORE = Store("nfs", _files, by_driver(_create))
