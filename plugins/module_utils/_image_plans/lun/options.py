# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of a LUN beside its format and size, and checks for contradictions. Pure."""

from __future__ import annotations

from dataclasses import replace

from ansible_collections.directdisk.qemu.plugins.module_utils._backends import iscsi
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.contract import DesiredImage
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.lun.server import options as server
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.volume import blank_check
from ansible_collections.directdisk.qemu.plugins.module_utils._options.option import Option

PACKAGES = {
    "debian": ("qemu-block-extra",),
    "redhat": ("libiscsi",),
    "fedora": ("libiscsi",),
    "suse": ("qemu-block-iscsi",),
    "arch": ("libiscsi",),
}
"""Packages with libiscsi, by OS family. If the library's own package changes its name, the package that needs it."""

OPTIONS = (
    Option(
        "portals",
        "Further portals of the same target, tried after O(portal). The first that accepts this host is used, see "
        "RV(image.portal).",
        "list",
    ),
    Option(
        "expect",
        "Required properties of the LUN; nothing is written to one that differs.",
        "dict",
        options=(
            Option("size", "Its exact size.", "size"),
            Option("minimum_size", "Its minimum size.", "size"),
            Option("serial", "Its serial number (page 0x80 of its vital product data)."),
        ),
    ),
    Option(
        "overwrite",
        "Fingerprint of the data that may be lost, from RV(image.fingerprint) or from the error about the data. "
        "Other data is never overwritten, so a fingerprint may stay in an inventory.",
        pattern="[0-9a-f]{16}",
        pattern_help="is not a fingerprint: 16 hexadecimal digits, from the error about the data",
    ),
    blank_check.OPTION,
    Option(
        "tgt",
        "Make and remove the LUN itself, on the storage host whose tgtd exports it (C(delegate_to)): the store, "
        "the target, the account of O(user), and the configuration for the next start of tgt.",
        "dict",
        options=server.OPTIONS,
    ),
)


def serves(desired: DesiredImage) -> bool:
    """Tell if this host is the storage host, which exports the LUN."""
    return "tgt" in desired.provision


def check(desired: DesiredImage) -> None:
    if serves(desired):
        server.check(desired)
        return
    settings = desired.disk.settings
    for portal in desired.provision.get("portals", ()):
        try:
            iscsi.portal_of({"portal": portal})
        except DeclarationError as error:
            raise error.within("portals") from None
    if settings["format"] == "raw" and desired.size:
        problem = "luks takes the whole LUN; leave size out, and set expect to check the LUN's size"
        raise DeclarationError("size", problem)
    if desired.monitor and not desired.node:
        raise DeclarationError("node", "is required with monitor: the disk's node in that VM")


def format_of(disk: Disk) -> tuple[str, bool]:
    """Return the declared format of a LUN's bytes, and whether it is encrypted."""
    return disk.settings["format"], "luks" in disk.settings


def at_portal(disk: Disk, portal: str) -> Disk:
    """Return the disk through the portal that let this host in."""
    return replace(disk, source={**disk.source, "portal": portal})
