# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that QEMU opens because the header of an image names them: the declared one and foreign ones. Pure."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._access.image_header import Header
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.values import Node
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError

_PROTOCOL = re.compile(r"[^/:]*:")
"""Begins a name that QEMU does not take for a path (QEMU, path_has_protocol)."""


def local_backing_file(disk: Disk, node: Node) -> str:
    """Return the path of the declared backing file if it is a file of this host, and empty text if it is not.

    node: the protocol node of the disk; QEMU takes a relative name from the image's own folder.
    """
    name = str(disk.backing.get("file", "")).removeprefix("file:")
    if not name or _PROTOCOL.match(name):
        return ""
    image = str(node.get("filename", ""))
    return posixpath.join(posixpath.dirname(image), name) if posixpath.isabs(name) or image else ""


def why_undeclared(header: Header, backing: str = "") -> str:
    """Return why a qcow2 is not opened: its header names a file that is not declared; empty if it names none.

    backing: its declared backing file.
    """
    if header.external:
        return "its data is in another file, as its header says; such an image is not opened"
    if header.backing and header.backing != backing:
        return f"it stands on {header.backing}, as its header says; flatten it, or declare that as backing (provision)"
    return ""


def refuse_undeclared(disk: Disk, header: Header) -> None:
    """Raise HostError if the header of a qcow2 names a file that is not declared."""
    problem = why_undeclared(header, str(disk.backing.get("file", "")))
    if problem:
        raise HostError(problem)


def foreign_file(nodes: Iterable[Mapping[str, Any]], name: str, backing: str, *, keeps_names: bool) -> str:
    """Return a file that QEMU has opened although nobody declared it; empty if there is none.

    nodes: the reply to query-named-block-nodes with the chains of backing files; name: the node of the image;
    backing: its declared backing file. keeps_names: this QEMU reports a backing file as the header names it.
    """
    nodes = list(nodes)
    image = next(node["image"] for node in nodes if node["node-name"] == name)
    base = image.get("backing-image") or {}
    if base and keeps_names and image.get("backing-filename", "") != backing:
        return str(image.get("backing-filename") or base.get("filename"))
    named = _data_file(image) or _data_file(base) or (base.get("backing-filename") if base else "")
    if named:
        return str(named)
    # QEMU gives names with a # to the nodes that it was not told to open.
    allowed = {base.get("filename")} if base and backing else set()
    opened = (node for node in nodes if str(node["node-name"]).startswith("#"))
    return next((str(node.get("file") or node["node-name"]) for node in opened if node.get("file") not in allowed), "")


def _data_file(image: Mapping[str, Any]) -> Any:
    return image.get("format-specific", {}).get("data", {}).get("data-file")
