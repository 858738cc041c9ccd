# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The formats that images are made in: their options, and what QEMU wants to hear of them. Pure."""

from __future__ import annotations

from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._backends.values import Values
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError
from ansible_collections.directdisk.qemu.plugins.module_utils._options.option import Option

CLUSTER_SIZE = 64 << 10
"""Of a qcow2, unless something else is asked for."""
SECTOR = 512

FORMAT_OPTIONS = (
    Option(
        "cluster_size",
        "Bytes of a cluster of a new qcow2, a power of 2; 64KiB without it.",
        "size",
        minimum=SECTOR,
        maximum=2 << 20,
    ),
    Option(
        "preallocation",
        "What a new image takes of its storage at once: V(metadata) the tables of a qcow2, V(falloc) and V(full) its "
        "whole size, the latter written with zeroes. The last two are for storage that can do it: file and gluster.",
        choices=("off", "metadata", "falloc", "full"),
        default="off",
    ),
    Option(
        "lazy_refcounts",
        "Have a new qcow2 write its reference counts late: quicker, but checked whole after a crash.",
        "bool",
    ),
    Option(
        "backing",
        "Image that a new qcow2 stands on, as its header names it; one that has another in its header is refused.",
        "dict",
        options=(
            Option("file", "Its name, as QEMU finds it from the new image's place.", required=True),
            Option("format", "Its format.", choices=("raw", "qcow2"), required=True),
        ),
    ),
)


def check_format(disk: Disk, provision: Values, preallocations: tuple[str, ...]) -> None:
    """Refuse options that do not go with the format; preallocations: what the storage itself can do."""
    qcow2 = disk.settings["format"] == "qcow2"
    for option in ("cluster_size", "lazy_refcounts", "backing"):
        if provision.get(option) and not qcow2:
            raise DeclarationError(option, "is for format qcow2")
    if provision.get("cluster_size", SECTOR) & (provision.get("cluster_size", SECTOR) - 1):
        raise DeclarationError("cluster_size", f"{provision['cluster_size']} is not a power of 2")
    if "backing" in provision and disk.origin:
        raise DeclarationError("backing", "is given together with source: a new image begins as one or the other")
    able = (*preallocations, *(("metadata",) if qcow2 else ()))
    if provision["preallocation"] not in able:
        what = f"{disk.settings['format']} on {disk.backend.name}"
        raise DeclarationError("preallocation", f"{provision['preallocation']} is not for {what}: {', '.join(able)}")
    if disk.settings.get("size", 0) % SECTOR:
        raise DeclarationError("size", f"{disk.settings['size']} is not a multiple of {SECTOR} bytes")


def has_format(disk: Disk) -> bool:
    """Whether there is more to an image than the bytes that a guest sees."""
    return disk.settings["format"] != "raw" or "luks" in disk.settings


def format_options(disk: Disk, provision: Values, size: int, key: str) -> dict[str, Any]:
    """QAPI BlockdevCreateOptions of a format, without ``file``; key: id of the secret that encrypts it."""
    options: dict[str, Any] = {"size": size}
    if "preallocation" in provision:
        options["preallocation"] = provision["preallocation"]
    if disk.settings["format"] == "raw":
        return {"driver": "luks", "key-secret": key, **options}
    options["driver"] = "qcow2"
    if "cluster_size" in provision:
        options["cluster-size"] = provision["cluster_size"]
    if "lazy_refcounts" in provision:
        options["lazy-refcounts"] = provision["lazy_refcounts"]
    if "backing" in provision:
        options.update({"backing-file": provision["backing"]["file"], "backing-fmt": provision["backing"]["format"]})
    if key:
        options["encrypt"] = {"format": "luks", "key-secret": key}
    return options
