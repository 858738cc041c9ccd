# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes that a storage daemon has open: the protocol node of a disk, and the image above it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._access.file_kind import file_kind
from ansible_collections.directdisk.qemu.plugins.module_utils._access.image_header import (
    HEAD,
    Header,
    opened_by_header,
    read_header,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._access.storage_daemon import StorageDaemon
from ansible_collections.directdisk.qemu.plugins.module_utils._access.workspace import Workspace
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.values import Node
from ansible_collections.directdisk.qemu.plugins.module_utils._clients.nbd import NbdClient
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError


class OpenNode:
    """A node that is open."""

    def __init__(self, daemon: StorageDaemon, name: str, bench: Workspace, key: str) -> None:
        self.daemon = daemon
        self.name = name
        self.key = key
        """Id of the secret with which the disk is encrypted; empty where it is not."""
        self.bench = bench

    def describe(self) -> dict[str, Any]:
        """What QEMU says of it (QAPI ImageInfo)."""
        return self.daemon.describe(self.name)

    def write_format(self, options: Mapping[str, Any], *, seconds: float | None = None) -> None:
        """Write a format into it; options: of QAPI BlockdevCreateOptions, without ``file``."""
        self.daemon.create({**options, "file": self.name}, seconds=seconds or self.bench.open_timeout)

    def resize(self, size: int) -> None:
        """size: bytes."""
        self.daemon.execute("block_resize", {"node-name": self.name, "size": size}, seconds=self.bench.open_timeout)

    @property
    def _socket(self) -> str:
        return f"{self.bench.folder}/{id(self.daemon)}.sock"

    @contextlib.contextmanager
    def served(self, *, writable: bool) -> Iterator[str]:
        """The URI at which NBD clients on this host find it."""
        with self.daemon.exported(self.name, self._socket, writable=writable) as uri:
            yield uri

    @contextlib.contextmanager
    def accessed(self) -> Iterator[NbdClient]:
        """Its bytes, to be read."""
        with (
            self.served(writable=False),
            NbdClient(self._socket, self.name, seconds=self.bench.open_timeout) as client,
        ):
            yield client

    def header(self) -> Header:
        """What its first bytes say of it."""
        with self.accessed() as client:
            return read_header(client.read(0, HEAD))


class Storage(OpenNode):
    """The protocol node of a disk; its format is opened above it."""

    def __init__(
        self, daemon: StorageDaemon, name: str, bench: Workspace, key: str, disk: Disk, formats: list[Node]
    ) -> None:
        super().__init__(daemon, name, bench, key)
        self._disk = disk
        self._formats = formats

    @contextlib.contextmanager
    def image(self) -> Iterator[OpenNode]:
        """The node that holds what a guest would see."""
        first, *others = self._formats
        with self.daemon.nodes([{**first, **self._beneath()}, *others], seconds=self.bench.open_timeout):
            image = OpenNode(self.daemon, self._formats[-1]["node-name"], self.bench, self.key)
            self._refuse_other_files(image)
            yield image

    def _refuse_other_files(self, image: OpenNode) -> None:
        """A server can answer otherwise the second time: what counts is the header that QEMU has read."""
        named = opened_by_header(self.daemon.describe(image.name, chain=True))
        if named:
            raise HostError(f"its header has had {named} opened; such an image is not used")
        if not self._disk.provision.get("backing"):
            self.daemon.refuse_strangers()

    def _beneath(self) -> Node:
        """QEMU would open whatever file of this host the header of an image names: nobody has said that it may."""
        if self._disk.settings["format"] != "qcow2":
            return {}
        header = self.header()
        if header.format != "qcow2":
            words, _advice = file_kind(header.head)
            raise HostError(f"it is {words}" if words else "Image is not in qcow2 format")
        if header.external:
            raise HostError("its data is in another file, as its header says; such an image is not opened")
        declared = self._disk.provision.get("backing") or {}
        if header.backing and header.backing != declared.get("file"):
            raise HostError(
                f"it stands on {header.backing}, as its header says; flatten it, or declare that as backing"
            )
        return {} if header.backing else {"backing": None}
