# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Opens disks outside VMs: to look at an image, to create one, to copy one into another.

When the workbench is closed, its processes, sockets and secret files are removed.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._access.foreign_files import local_backing_file
from ansible_collections.directdisk.qemu.plugins.module_utils._access.nodes import Image, Storage
from ansible_collections.directdisk.qemu.plugins.module_utils._access.qemu_img import copy_by_qemu_img
from ansible_collections.directdisk.qemu.plugins.module_utils._access.route_openers import (
    OpenedHere,
    open_here,
    unpacked,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._access.source_check import check_content, check_whole
from ansible_collections.directdisk.qemu.plugins.module_utils._access.storage_daemon import StorageDaemon
from ansible_collections.directdisk.qemu.plugins.module_utils._access.workspace import FolderResources, Workspace
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.values import Node
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.explain import explained
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError
from ansible_collections.directdisk.qemu.plugins.module_utils._host.storage_users import StorageUsers
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.blockdev import Graph, build_graph
from ansible_collections.directdisk.qemu.plugins.module_utils._process.resource_cache import ResourceCache
from ansible_collections.directdisk.qemu.plugins.module_utils._process.run import SYSTEM_PATH
from ansible_collections.directdisk.qemu.plugins.module_utils._routes.capabilities import Capabilities


class Workbench(Workspace):
    """A workspace in which disks are opened, created and copied, by storage daemons of its own."""

    def __init__(
        self, capabilities: Capabilities, *, open_timeout: float = 30, shared: ResourceCache | None = None
    ) -> None:
        super().__init__(capabilities, open_timeout=open_timeout, shared=shared)
        self.users: StorageUsers | None = None
        """Those of an observation that changes nothing; without it, they are looked for at each disk."""
        self._daemons: dict[str, StorageDaemon] = {}
        self._count = 0

    def __enter__(self) -> Workbench:
        return self

    @contextlib.contextmanager
    def storage(self, disk: Disk, *, writable: bool = False) -> Iterator[Storage]:
        """Open the protocol node of a disk: the bytes as they are stored."""
        with self._opening(disk) as here:
            storage, *formats = (_here(node, here.number, writable=writable) for node in here.graph.base_nodes())
            # A node that was only read has nothing to flush: it may end with its daemon.
            stay = disk.backend.access.closes_slowly and not writable
            with here.daemon.nodes([storage], seconds=self.open_timeout, stay=stay):
                yield Storage(here.daemon, storage, self, here.key, disk, formats)

    @contextlib.contextmanager
    def image(self, disk: Disk, *, writable: bool = False) -> Iterator[Image]:
        """Open a disk up to the node of the bytes that a guest sees."""
        with self.storage(disk, writable=writable) as storage, storage.image() as image:
            yield image

    def size_of(self, disk: Disk) -> int:
        """Return the bytes that a guest sees."""
        with self.image(disk) as image:
            return image.size

    def size_of_source(self, origin: Disk) -> int:
        """Return the same for a source; HostError if it is not the whole image that is declared."""
        with self.storage(origin) as storage:
            check_content(storage, origin)
            with storage.image() as image:
                check_whole(storage, origin)
                return image.size

    @contextlib.contextmanager
    def _opening(self, disk: Disk) -> Iterator[_Opening]:
        """Provide what a disk's nodes need; errors meanwhile are explained as errors of this disk."""
        self._count += 1
        resources = FolderResources(self.folder, f"{disk.name}{self._count}")
        try:
            with contextlib.ExitStack() as stack:
                opened = stack.enter_context(open_here(disk, resources, self))
                if disk.packed:
                    opened = stack.enter_context(unpacked(disk, opened, self))
                opened = _with_backing_file(opened, disk)
                daemon = self._new_daemon(opened, stack) if disk.backend.access.closes_slowly else self.daemon(opened)
                stack.enter_context(daemon.files.shown(opened.files))
                graph = build_graph(disk, opened.node, resources, "")
                for desired in resources.objects:
                    if desired.kind != "throttle-group":
                        daemon.add_object(desired)
                        stack.callback(_quietly, daemon.remove_object, desired.identifier)
                key = next((one.identifier for one in resources.objects if one.identifier.endswith(".luks")), "")
                yield _Opening(daemon, opened.node, graph, self._count, key)
        except HostError as error:
            raise explained(disk, error) from None

    def create(self, disk: Disk, options: Callable[[Node], Mapping[str, Any]], *, seconds: float | None = None) -> None:
        """Create the storage of a disk; options: from its protocol node to QAPI BlockdevCreateOptions."""
        with self._opening(disk) as here:
            here.daemon.create(options(here.node), seconds=seconds or self.open_timeout)

    def daemon(self, opened: OpenedHere) -> StorageDaemon:
        """Return the daemon with the confinement and environment that a disk needs."""
        key = repr((opened.confinement, opened.environment))
        if key not in self._daemons or self._daemons[key].lost:
            self._daemons[key] = self._new_daemon(opened, self._stack)
        return self._daemons[key]

    def _new_daemon(self, opened: OpenedHere, stack: contextlib.ExitStack) -> StorageDaemon:
        environment = {"PATH": SYSTEM_PATH, **opened.environment}
        daemon = StorageDaemon(
            self.capabilities.release,
            environment=environment,
            begin=lambda number: self.confined(opened.confinement, files_from=number),
        )
        stack.callback(daemon.close)
        return daemon

    def copy(self, origin: Disk, target: Disk, *, blank: bool) -> None:
        """Copy the bytes that a guest sees of one disk to another, which exists and is large enough.

        blank: the target is known to read as zeroes.
        """
        zero = ["--target-is-zero"] if blank else []
        with (
            self.image(origin) as source,
            self.image(target, writable=True) as sink,
            source.served(writable=False) as origin_uri,
            sink.served(writable=True) as target_uri,
        ):
            copy_by_qemu_img(self, source.size, "-n", "-f", "raw", "-O", "raw", *zero, origin_uri, target_uri)


@dataclass(frozen=True)
class _Opening:
    """A daemon, and the nodes to open in it."""

    daemon: StorageDaemon
    node: Node
    graph: Graph
    number: int
    key: str


def _with_backing_file(opened: OpenedHere, disk: Disk) -> OpenedHere:
    """Let QEMU see and open the declared backing file if it is a file of this host; QEMU reports a missing one."""
    path = local_backing_file(disk, opened.node)
    if not os.path.exists(path):
        return opened
    return replace(opened, confinement=replace(opened.confinement, opens=True), files=(*opened.files, path))


def _here(node: Node, number: int, *, writable: bool) -> Node:
    """Return the node with a unique name; it takes locks only if it is written to."""
    named = {key: f"{value}.{number}" if key in ("node-name", "file") else value for key, value in node.items()}
    return {**named, "read-only": not writable, **({} if writable else {"force-share": True})}


def _quietly(call: Callable[[str], None], argument: str) -> None:
    with contextlib.suppress(HostError):
        call(argument)
