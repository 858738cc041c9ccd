# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes that a storage daemon has open: the protocol node of a disk, and the image above it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._access.file_kind import file_kind, why_not_format
from ansible_collections.directdisk.qemu.plugins.module_utils._access.foreign_files import (
    foreign_file,
    refuse_undeclared,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._access.image_header import (
    HEAD,
    Header,
    read_header,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._access.storage_daemon import StorageDaemon
from ansible_collections.directdisk.qemu.plugins.module_utils._access.visible_files import read_shown
from ansible_collections.directdisk.qemu.plugins.module_utils._access.workspace import Workspace
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.values import Node
from ansible_collections.directdisk.qemu.plugins.module_utils._clients.nbd import NbdClient
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.schema import SOURCE_FORMATS
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError


class OpenNode:
    """An open node of a storage daemon."""

    def __init__(self, daemon: StorageDaemon, name: str, bench: Workspace, key: str) -> None:
        self.daemon = daemon
        self.name = name
        self.key = key
        """Id of the secret that encrypts the disk; empty if it is not encrypted."""
        self.bench = bench

    def describe(self) -> dict[str, Any]:
        """Return QEMU's description of the node (QAPI ImageInfo)."""
        return self.daemon.describe(self.name)

    def write_format(self, options: Mapping[str, Any], *, seconds: float | None = None) -> None:
        """Write a format into the node; options: QAPI BlockdevCreateOptions without ``file``."""
        self.daemon.create({**options, "file": self.name}, seconds=seconds or self.bench.open_timeout)

    def resize(self, size: int) -> None:
        """Resize the node; size: bytes."""
        self.daemon.execute("block_resize", {"node-name": self.name, "size": size}, seconds=self.bench.open_timeout)

    @property
    def _socket(self) -> str:
        return f"{self.bench.folder}/{id(self.daemon)}.sock"

    @contextlib.contextmanager
    def served(self, *, writable: bool) -> Iterator[str]:
        """Export the node; yields the URI for NBD clients on this host."""
        with self.daemon.exported(self.name, self._socket, writable=writable) as uri:
            yield uri

    @contextlib.contextmanager
    def accessed(self, *, writable: bool = False) -> Iterator[NbdClient]:
        """Open the bytes of the node."""
        with (
            self.served(writable=writable),
            NbdClient(self._socket, self.name, seconds=self.bench.open_timeout) as client,
        ):
            yield client

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold QEMU's lock, as one that shares the file with no other writer; raise HostError if it has one.

        A node without a user holds no lock, and an export shares with others. blkdebug takes the lock by itself.
        """
        alone = {"take-child-perms": ["write"], "unshare-child-perms": ["write"]}
        lock = {"driver": "blkdebug", "node-name": f"{self.name}.lock", "image": self.name, **alone}
        with self.daemon.nodes([lock], seconds=self.bench.open_timeout):
            yield


class Image(OpenNode):
    """The node of the bytes that a guest sees."""

    def __init__(self, daemon: StorageDaemon, name: str, bench: Workspace, key: str, size: int) -> None:
        super().__init__(daemon, name, bench, key)
        self.size = size
        """Bytes that a guest saw when the image was opened."""


class Storage(OpenNode):
    """The protocol node of a disk; its format is opened on top of it."""

    def __init__(
        self, daemon: StorageDaemon, node: Node, bench: Workspace, key: str, disk: Disk, formats: list[Node]
    ) -> None:
        super().__init__(daemon, node["node-name"], bench, key)
        self._file = str(node["filename"]) if node["driver"] == "file" else ""
        self._disk = disk
        self._formats = formats

    def header(self) -> Header:
        """Read the header of the image; that of a file of this host is read directly, which is faster."""
        head = read_shown(self._file, HEAD) if self._file else None
        if head is None:
            with self.accessed() as client:
                head = client.read(0, HEAD)
        return read_header(head)

    @contextlib.contextmanager
    def image(self, header: Header | None = None) -> Iterator[Image]:
        """Open the node of the bytes that a guest sees; header: of this storage, if it has just been read."""
        first, *others = self._formats
        beneath = self._beneath(header)
        with self.daemon.nodes([{**first, **beneath}, *others], seconds=self.bench.open_timeout):
            name = self._formats[-1]["node-name"]
            yield Image(self.daemon, name, self.bench, self.key, self._checked_size(name))

    def _checked_size(self, name: str) -> int:
        """Return the size of the image; refuse the header that QEMU has read: a server may send another one then."""
        nodes = self.daemon.open_nodes()
        backing = str(self._disk.backing.get("file", ""))
        foreign = foreign_file(nodes, name, backing, keeps_names=self.daemon.keeps_names)
        if foreign:
            raise HostError(f"its header has had {foreign} opened; flatten the image, or declare its backing file")
        return next(int(node["image"]["virtual-size"]) for node in nodes if node["node-name"] == name)

    def _beneath(self, header: Header | None) -> Node:
        """Return the options of a format's node for its backing file; refuse a header that names an undeclared file."""
        form = str(self._disk.settings["format"])
        if form not in (*SOURCE_FORMATS, "qcow2"):
            return {}
        header = header or self.header()
        if form in SOURCE_FORMATS:
            problem = why_not_format(form, header.head)
            if problem:
                raise HostError(problem)
            return {}
        if header.format != "qcow2":
            kind, _advice = file_kind(header.head)
            raise HostError(f"it is {kind}" if kind else "Image is not in qcow2 format")
        refuse_undeclared(self._disk, header)
        return {} if header.backing else {"backing": None}
