# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images as files on a GlusterFS volume, by the library with which QEMU speaks to it."""

from __future__ import annotations

import contextlib
import json
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

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

    def ask(self, operation: str, *paths: str) -> str:
        return run_program(libgfapi, (*self._place, operation, *paths), seconds=self._seconds, begin=self._begin)


@contextlib.contextmanager
def _files(disk: Disk, bench: Workspace) -> Iterator[_GlusterFiles]:
    begin = bench.confined(confinement(disk.backend.access.reach(disk.source)))
    yield _GlusterFiles(disk.backend.access.node(disk.source, UnitResources("", "", "")), bench.open_timeout, begin)


def _create(node: Node, size: int, preallocation: str) -> Mapping[str, Any]:
    location: Node = {key: node[key] for key in ("server", "volume", "path") if key in node}
    # QEMU sets no log for a creation, unlike for an open, and libgfapi then requires a file in /var/log of its own.
    location["logfile"] = "-"
    return {"driver": "gluster", "location": location, "size": size, "preallocation": preallocation}


STORE = Store("gluster", _files, _create)
