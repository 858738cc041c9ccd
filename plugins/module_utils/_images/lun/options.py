# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be said of a LUN beside its format and size, and what of it contradicts itself. Pure."""

from __future__ import annotations

from ansible_collections.directdisk.qemu.plugins.module_utils._backends import iscsi
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError
from ansible_collections.directdisk.qemu.plugins.module_utils._images.contract import DesiredImage
from ansible_collections.directdisk.qemu.plugins.module_utils._images.lun.server import options as server
from ansible_collections.directdisk.qemu.plugins.module_utils._images.volume import blank
from ansible_collections.directdisk.qemu.plugins.module_utils._options.option import Option

OPTIONS = (
    Option(
        "portals",
        "Further portals of the same target. The first that lets this host in is used, O(portal) before them; "
        "RV(image.portal) says which.",
        "list",
    ),
    Option(
        "expect",
        "What the LUN must be like; nothing is written to one that is different.",
        "dict",
        options=(
            Option("size", "Its size exactly.", "size"),
            Option("minimum_size", "Its size at least.", "size"),
            Option("serial", "Its serial number (page 0x80 of its vital product data)."),
        ),
    ),
    Option(
        "overwrite",
        "The fingerprint of the data that may be lost, as RV(image.fingerprint) and the error about the data name it. "
        "Other data is never overwritten, so that a fingerprint that stays in an inventory does no harm.",
        pattern="[0-9a-f]{16}",
        pattern_help="is no fingerprint: 16 hexadecimal digits, named by the error about the data",
    ),
    blank.OPTION,
    Option(
        "tgt",
        "Makes and removes the LUN itself, on the storage host whose tgtd gives it out (C(delegate_to)): the store, "
        "the target, the account of O(user), and what tgt needs to have them again after a restart.",
        "dict",
        options=server.OPTIONS,
    ),
)


def serves(desired: DesiredImage) -> bool:
    """Whether this host is the one that gives the LUN out."""
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
        problem = "luks takes the whole LUN; leave size out, and say under expect what the LUN must have"
        raise DeclarationError("size", problem)
    if desired.monitor and not desired.node:
        raise DeclarationError("node", "is missing: monitor wants to be told which of its nodes the disk is")


def format_of(disk: Disk) -> tuple[str, bool]:
    """What the bytes of the LUN are declared to be, and whether they are encrypted."""
    return disk.settings["format"], "luks" in disk.settings
