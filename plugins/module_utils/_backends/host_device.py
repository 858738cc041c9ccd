# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A block device, or a SCSI generic device, of the host."""

from __future__ import annotations

import posixpath
import re
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._backends import file
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.access import Access, Reach
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.adoption import (
    Adoption,
    no_libvirt,
    read_members,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.command_line_context import CommandLineContext
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.contract import Backend, Hint, members
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.packages import Packages
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.path_checks import check_allowable
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.resources import UnitResources
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.source import Source
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.values import Node, Values
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError

_WORLD_WIDE = re.compile(r"/dev/disk/by-id/(wwn-|scsi-3|dm-uuid-mpath-|nvme-(eui|uuid)\.)")
"""Names that storage gives to a device itself: they mean the same bytes wherever they are seen."""
_NO_DEVICES = ("/dev/shm/", "/dev/hugepages/", "/dev/mqueue/")
"""Directories under /dev that contain files."""

HINTS = (
    Hint(
        "requires .*a character or block device",
        "it is not a device",
        "declare an image file with file: instead of host_device:",
    ),
    Hint("not writable", "the device is read-only", "set writes: deny, overlay or discard"),
    Hint("Cannot grow device files", "a device has the size it has", "grow the device itself first"),
    Hint(
        "Could not open .*No such file or directory|No such device",
        "there is no such device",
        "check the path; prefer a stable name under /dev/disk/by-id",
    ),
    *file.HINTS,
)


def is_device(path: str) -> bool:
    return path.startswith("/dev/") and not path.startswith(_NO_DEVICES)


def _node(values: Values, resources: UnitResources) -> Node:
    return {"driver": "host_device", **members(file.OPTIONS, values, resources)}


def _check(values: Values) -> None:
    if not values["filename"].startswith("/dev/"):
        raise DeclarationError("filename", f"{values['filename']} is not under /dev; declare an image file with file")
    check_allowable("filename", values["filename"])


def _read_uri(uri: str) -> dict[str, Any]:
    return {"filename": uri[len("host_device:") :]}


def _read_node(node: Node, context: CommandLineContext) -> dict[str, Any]:
    return read_members(file.OPTIONS, node, context, file.UNHANDLED)


BACKEND = Backend(
    name="host_device",
    summary="A block device of the host, by its path (a name under /dev/disk/by-id stays the same)",
    options=file.OPTIONS,
    source=Source(
        sample={"filename": "/nonexistent"},
        describe=lambda values: str(values["filename"]),
        identity=lambda values: f"path:{values['filename']}",
        pool=lambda values: posixpath.dirname(values["filename"]),
        writable=True,
        local=lambda values: not _WORLD_WIDE.match(values["filename"]),
        relocate=lambda values, rename: {**values, "filename": rename(values["filename"])},
        check=_check,
    ),
    access=Access(
        driver="host_device",
        node=_node,
        reach=lambda values: Reach(devices=(values["filename"],)),
        unhandled=file.UNHANDLED,
        owner=file.owner,
        scsi_passthrough=True,
    ),
    packages=Packages(driver=file.BACKEND.packages.driver, programs=file.BACKEND.packages.programs),
    adoption=Adoption(
        schemes=("host_device",),
        read_uri=_read_uri,
        read_node=_read_node,
        read_libvirt=no_libvirt,
    ),
    hints=HINTS,
)
