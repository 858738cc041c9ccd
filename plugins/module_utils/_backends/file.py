# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An image file on the host itself."""

from __future__ import annotations

import posixpath
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._backends import _packed
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.access import (
    Access,
    NbdkitPlugin,
    OwnerCheck,
    Reach,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.adoption import (
    Adoption,
    no_libvirt,
    read_members,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.command_line_context import CommandLineContext
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.contract import Backend, Hint, members
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.packages import Packages
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.path_checks import check_mountable
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.resources import UnitResources
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.source import Source
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.values import Node, Values
from ansible_collections.directdisk.qemu.plugins.module_utils._options.option import Option

OPTIONS = (
    Option(
        "filename", "Absolute path of the image on the host.", "path", required=True, aliases=("path",), qemu="filename"
    ),
    Option(
        "aio",
        "How QEMU submits I/O; V(native) needs O(cache=none).",
        choices=("threads", "native", "io_uring"),
        qemu="aio",
    ),
    Option(
        "aio_max_batch",
        "Most requests submitted at once with V(native) or V(io_uring); 0 lets QEMU choose.",
        "int",
        minimum=0,
        maximum=2**31 - 1,
        qemu="aio-max-batch",
        since=(6, 2),
    ),
    Option(
        "locking",
        "Lock the image against a second opener.",
        choices=("auto", "on", "off"),
        qemu="locking",
    ),
)

UNHANDLED = {
    "pr-manager": "needs a qemu-pr-helper that runs as root",
    "drop-cache": "matters in live migration with cache other than none only",
    "x-check-cache-dropped": "unstable, and for QEMU's own tests of live migration",
}

HINTS = (
    Hint(
        "setfacl: .*Operation not supported",
        "its file system has no access lists",
        "keep the image on one that has (ext4, xfs, btrfs, tmpfs)",
    ),
    Hint("setfacl: .*Read-only file system", "its file system is mounted read-only", "remount it"),
    Hint(
        "(Could not open|open:|realpath:) .*Permission denied",
        "the VM's user cannot reach it",
        "every folder above it must be searchable by others (mode o+x), and its file system must know ACLs",
    ),
    Hint(
        "Failed to get .*lock",
        "another process has it open",
        "stop that process, or declare writes: deny on both sides",
    ),
    Hint("aio=native was specified, but it requires cache.direct=on", "aio native needs cache none", "set cache: none"),
    Hint(
        "(Could not open|realpath:) .*No such file or directory",
        "there is no such file",
        "create it, or correct filename",
    ),
    Hint(
        "Image is not in (\\w+) format",
        "its content is not in the declared format",
        "correct format, or check that it is the right image",
    ),
)


def _node(values: Values, resources: UnitResources) -> Node:
    return {"driver": "file", **members(OPTIONS, values, resources)}


def _nbdkit(values: Values, resources: UnitResources) -> NbdkitPlugin:
    return NbdkitPlugin(
        "file",
        (f"file={values['filename']}", *_packed.parameters(values)),
        _packed.filters(values),
        unpacks=_packed.is_unpacked_whole(values),
    )


def _unfit(route: str, values: Values) -> str:
    """Return why nbdkit does not serve a plain image: it would not write to it, and QEMU opens it itself."""
    return "nbdkit is for compression and tar_member" if route == "nbdkit" and not _packed.what(values) else ""


def _read_uri(uri: str) -> dict[str, Any]:
    """``file:/path`` and ``file:///path``; QEMU strips the prefix and decodes nothing, so neither is decoded here."""
    path = uri[len("file:") :]
    return {"filename": path[2:] if path.startswith("//") else path}


def _read_node(node: Node, context: CommandLineContext) -> dict[str, Any]:
    return read_members(OPTIONS, node, context, UNHANDLED)


def owner(values: Values, resources: UnitResources, uuid: str) -> OwnerCheck:
    """Return how to ask for the owner: QEMU's error names none, it only reports a lock."""
    del resources, uuid
    return OwnerCheck("path", {"path": values["filename"]}, locked=True)


BACKEND = Backend(
    name="file",
    summary="An image file on the host itself",
    options=(*OPTIONS, *_packed.OPTIONS),
    source=Source(
        sample={"filename": "/nonexistent"},
        describe=lambda values: f"{values['filename']}{_packed.what(values)}",
        identity=lambda values: f"path:{values['filename']}{_packed.what(values)}",
        pool=lambda values: posixpath.dirname(values["filename"]),
        writable=True,
        why_read_only=lambda values: (
            "a compressed image or an archive cannot be written" if _packed.what(values) else ""
        ),
        resizable=True,
        local=lambda values: True,
        relocate=lambda values, rename: {**values, "filename": rename(values["filename"])},
        check=lambda values: check_mountable("filename", values["filename"]),
    ),
    access=Access(
        driver="file",
        node=_node,
        reach=lambda values: Reach(files=(values["filename"],)),
        unhandled=UNHANDLED,
        routes=("driver", "nbdkit"),
        why_unsuited=_unfit,
        driver_only=("aio", "aio_max_batch", "locking"),
        nbdkit=_nbdkit,
        nbdkit_plugins=("file", *_packed.PARTS),
        owner=owner,
    ),
    packages=Packages(
        driver=dict.fromkeys(("debian", "redhat", "fedora", "suse", "arch"), ("acl",)),
        programs=("setfacl",),
    ),
    adoption=Adoption(
        schemes=("file",),
        read_uri=_read_uri,
        read_node=_read_node,
        read_libvirt=no_libvirt,
    ),
    hints=(*HINTS, *_packed.HINTS),
)
