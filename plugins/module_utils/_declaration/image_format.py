# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Formats of new images: their options, and their QAPI arguments. Pure."""

from __future__ import annotations

from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._backends.values import Values
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError
from ansible_collections.directdisk.qemu.plugins.module_utils._options.option import Option

CLUSTER_SIZE = 64 << 10
"""QEMU's default for a qcow2."""
SECTOR = 512

FORMAT_OPTIONS = (
    Option(
        "cluster_size",
        "Cluster size in bytes of a new qcow2, a power of 2. Default: 64KiB.",
        "size",
        minimum=SECTOR,
        maximum=2 << 20,
    ),
    Option(
        "preallocation",
        "Space that is allocated when an image is created: V(metadata) the tables of a qcow2, V(falloc) and V(full) "
        "its whole size, the latter written with zeroes. These two need storage that supports them: file and gluster.",
        choices=("off", "metadata", "falloc", "full"),
        default="off",
    ),
    Option(
        "lazy_refcounts",
        "Write the refcounts of a new qcow2 late: faster, but a crash requires a full check.",
        "bool",
    ),
    Option(
        "backing",
        "Backing file of a new qcow2; an existing image with another backing file is refused.",
        "dict",
        options=(
            Option("file", "Its name, absolute or relative to the new image.", required=True),
            Option("format", "Its format.", choices=("raw", "qcow2"), required=True),
        ),
    ),
)


def check_format(disk: Disk, provision: Values, preallocations: tuple[str, ...]) -> None:
    """Refuse options that the format does not support; preallocations: those that the storage supports."""
    qcow2 = disk.settings["format"] == "qcow2"
    for option in ("cluster_size", "lazy_refcounts", "backing"):
        if provision.get(option) and not qcow2:
            raise DeclarationError(option, "is for format qcow2")
    if provision.get("cluster_size", SECTOR) & (provision.get("cluster_size", SECTOR) - 1):
        raise DeclarationError("cluster_size", f"{provision['cluster_size']} is not a power of 2")
    if "backing" in provision and disk.origin:
        raise DeclarationError("backing", "is set together with source; set only one of them")
    able = (*preallocations, *(("metadata",) if qcow2 else ()))
    if provision["preallocation"] not in able:
        what = f"{disk.settings['format']} on {disk.backend.name}"
        raise DeclarationError("preallocation", f"{provision['preallocation']} is not for {what}: {', '.join(able)}")
    if disk.settings.get("size", 0) % SECTOR:
        raise DeclarationError("size", f"{disk.settings['size']} is not a multiple of {SECTOR} bytes")


def has_format(disk: Disk) -> bool:
    """Return True if an image holds more than the bytes that the guest sees."""
    return disk.settings["format"] != "raw" or "luks" in disk.settings


def format_options(disk: Disk, provision: Values, size: int, key: str) -> dict[str, Any]:
    """Return QAPI's BlockdevCreateOptions of a format, without ``file``; key: id of the secret that encrypts it."""
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
