# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images as files on a GlusterFS volume, by the library with which QEMU speaks to it."""

from __future__ import annotations

import contextlib
import json
import posixpath
from collections.abc import Iterator, Sequence

from ansible_collections.directdisk.qemu.plugins.module_utils._access.confinement import confinement
from ansible_collections.directdisk.qemu.plugins.module_utils._access.workspace import Workspace
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.resources import UnitResources
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.values import Node
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._images.stores.contract import Store
from ansible_collections.directdisk.qemu.plugins.module_utils._images.stores.program_files import ProgramFiles
from ansible_collections.directdisk.qemu.plugins.module_utils._process.run import run_program
from ansible_collections.directdisk.qemu.plugins.module_utils._programs import libgfapi


class _GlusterFiles(ProgramFiles):
    def __init__(self, node: Node, seconds: float, begin: Sequence[str]) -> None:
        self._place = (node["volume"], json.dumps(node["server"]))
        self._seconds = seconds
        self._begin = begin

    def folder(self, path: str) -> str:
        return self.kind(posixpath.dirname(path) or "/")

    def resize(self, path: str, size: int, preallocation: str = "off", *, seconds: float = 0) -> None:
        """Give a file this size; preallocation: how the space of a new file is allocated."""
        self._run("resize", path, str(size), preallocation, seconds=seconds)

    def ask(self, operation: str, *paths: str) -> str:
        return self._run(operation, *paths)

    def _run(self, operation: str, *arguments: str, seconds: float = 0) -> str:
        arguments = (*self._place, operation, *arguments)
        return run_program(libgfapi, arguments, seconds=seconds or self._seconds, begin=self._begin)


@contextlib.contextmanager
def _files(disk: Disk, bench: Workspace) -> Iterator[_GlusterFiles]:
    begin = bench.confined(confinement(disk.backend.access.reach(disk.source)))
    yield _GlusterFiles(disk.backend.access.node(disk.source, UnitResources("", "", "")), bench.open_timeout, begin)


def _create(disk: Disk, bench: Workspace, size: int, preallocation: str, *, seconds: float) -> None:
    """Set the size without QEMU: it has the driver by one route only, and takes ten seconds to close the image."""
    with _files(disk, bench) as files:
        files.resize(str(disk.source["path"]), size, preallocation, seconds=seconds)


def _resize(disk: Disk, bench: Workspace, size: int) -> None:
    _create(disk, bench, size, "off", seconds=bench.open_timeout)


STORE = Store("gluster", _files, _create, _resize)
