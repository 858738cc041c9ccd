# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes formats and images onto volumes, so that the next run recognises an interrupted one."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable

from ansible_collections.directdisk.qemu.plugins.module_utils._access.nodes import OpenNode
from ansible_collections.directdisk.qemu.plugins.module_utils._access.qemu_img import copy_by_qemu_img
from ansible_collections.directdisk.qemu.plugins.module_utils._access.storage_daemon import exported_node
from ansible_collections.directdisk.qemu.plugins.module_utils._access.workbench import Workbench
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.resources import keyval
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.values import Node
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.explain import storage_errors
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.image_format import format_options
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.contract import DesiredImage
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.volume import content
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.volume.changes import (
    ImportSource,
    WriteFormat,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._programs.vms_resume import open_regular

ZEROES: Node = {"driver": "null-co", "read-zeroes": "on", "size": content.HEAD}
_PIECE: Node = {"driver": "raw"}
_SECONDS = 30
"""Time limit for a file in memory."""


def write_format(desired: DesiredImage, change: WriteFormat, bench: Workbench) -> None:
    """Write a format on the whole volume. It is made in memory first: half a header could not be recognised."""
    del desired
    disk = change.disk
    path = f"{bench.folder}/{disk.name}.format"
    with storage_errors(disk), bench.storage(disk, writable=True) as node:
        try:
            length = _make_format(disk, change.size, node, path)
            with node.served(writable=True) as uri:
                _wipe(bench, uri, change.wipe)
                _mark(bench, uri)
                _copy(bench, {"driver": "file", "filename": path}, uri, content.HEAD, length - content.HEAD)
                _copy(bench, {"driver": "file", "filename": path}, uri, 0, content.HEAD)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)


def _make_format(disk: Disk, size: int, node: OpenNode, path: str) -> int:
    """Make an empty image in a file; returns how many of its bytes must be on the volume."""
    options = format_options(disk, {}, size, node.key)
    file: Node = {"driver": "file", "filename": path}
    node.daemon.create({**file, "size": 0}, seconds=_SECONDS)
    with node.daemon.nodes([{**file, "node-name": "format"}], seconds=_SECONDS):
        node.daemon.create({**options, "file": "format"}, seconds=_SECONDS)
    if disk.settings["format"] == "raw":
        return content.LUKS_HEADER
    # The last table of a small image ends within a sector, and QEMU counts in sectors.
    return _fill_last_sector(path)


def _fill_last_sector(path: str) -> int:
    """Make a file end with a whole sector, and return its length. Its folder is that of the confined processes."""
    try:
        handle = open_regular(path, os.O_RDWR)
    except OSError as error:
        raise HostError(f"{path}: {error.strerror}") from None
    try:
        length = -(-os.fstat(handle).st_size // content.HEAD) * content.HEAD
        os.ftruncate(handle, length)
    finally:
        os.close(handle)
    return length


def import_source(desired: DesiredImage, change: ImportSource, bench: Workbench) -> None:
    """Copy the source, its first bytes last: until then the volume begins with the mark."""
    del desired
    disk, size = change.disk, change.size
    if disk.origin is None:
        raise AssertionError
    head = min(content.HEAD, size)
    with (
        storage_errors(disk),
        bench.image(disk.origin) as origin,
        bench.image(disk, writable=True) as target,
        origin.served(writable=False) as source,
        target.served(writable=True) as sink,
    ):
        _wipe(bench, sink, change.wipe)
        _mark(bench, sink)
        if size > head:
            _copy(bench, nbd_node(source), sink, head, size - head)
        if head < content.HEAD:
            _copy(bench, ZEROES, sink, head, content.HEAD - head)
        _copy(bench, nbd_node(source), sink, 0, head)


def _mark(bench: Workbench, uri: str) -> None:
    path = bench.file("mark", content.MARK.decode())
    _copy(bench, {"driver": "file", "filename": path}, uri, 0, content.HEAD)


def _wipe(bench: Workbench, uri: str, places: Iterable[tuple[int, int]]) -> None:
    for start, length in places:
        _copy(bench, {**ZEROES, "size": start + length}, uri, start, length)


def _copy(bench: Workbench, source: Node, uri: str, start: int, length: int) -> None:
    """Copy a piece to the same place of an export; it is on its storage before this returns."""
    images = [piece_of(source, start, length), piece_of(nbd_node(uri), start, length)]
    copy_by_qemu_img(bench, length, "-n", "-t", "writeback", "--image-opts", "--target-image-opts", *images)


def piece_of(node: Node, start: int, length: int) -> str:
    """Return the options (--image-opts) of a piece of a node."""
    file = {f"file.{name}": value for name, value in node.items()}
    return ",".join(
        f"{name}={keyval(value)}" for name, value in {**_PIECE, "offset": start, "size": length, **file}.items()
    )


def nbd_node(uri: str) -> Node:
    """Return the node of an export, with dotted keys in place of nested mappings."""
    node = exported_node(uri)
    return {**{f"server.{key}": value for key, value in node.pop("server").items()}, **node}
