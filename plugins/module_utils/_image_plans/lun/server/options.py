# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of a LUN on its storage host, and what tgt could not keep. Pure."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace

from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.contract import DesiredImage
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.lun.server.kept import KeptLun, KeptTarget
from ansible_collections.directdisk.qemu.plugins.module_utils._options.option import Option

# tgt passes all of this to a shell when it starts.
_PLAIN = "[A-Za-z0-9._+:@%=/-]+"
_PLAIN_HELP = "has a character that tgt cannot keep (letters, digits and ._+:@%=/- are allowed)"

OPTIONS = (
    Option(
        "store",
        "The file or block device that holds the LUN's data, on the storage host.",
        "path",
        required=True,
        pattern=_PLAIN,
        pattern_help=_PLAIN_HELP,
    ),
    Option(
        "size",
        "Size of O(tgt.store): a missing file is made sparse, and a smaller one is grown. It is never shrunk. "
        "Leave it out for a block device.",
        "size",
    ),
    Option(
        "serial",
        "Serial number of the LUN; by default it is derived from the target's name and the LUN. "
        "tgt's own would change with the order of its targets.",
        pattern="[A-Za-z0-9._-]{1,32}",
        pattern_help="is not 1 to 32 of the characters A-Z a-z 0-9 . _ -",
    ),
    Option("thin", "Let initiators return space to the store (UNMAP).", "bool", default=False),
    Option("read_only", "Export the LUN read-only.", "bool", default=False),
    Option(
        "initiators",
        "Initiators that may log in to the target: addresses, networks (CIDR), names of initiators, or V(ALL). "
        "They apply to the whole target.",
        "list",
        default=("ALL",),
        pattern=_PLAIN,
        pattern_help=_PLAIN_HELP,
    ),
    Option("remove_store", "With O(state=absent), also remove the file with the data.", "bool", default=False),
    Option(
        "force",
        "Change or remove the LUN even while an initiator is logged in to the target; its guest then sees errors.",
        "bool",
        default=False,
    ),
)

_FOR_INITIATORS = ("portals", "expect", "overwrite")


def check(desired: DesiredImage) -> None:
    """Refuse options for a hypervisor, and values that tgt cannot keep."""
    settings, source = desired.disk.settings, desired.disk.source
    extra = [name for name in _FOR_INITIATORS if name in desired.provision]
    extra += ["format"] if settings["format"] != "raw" else []
    extra += ["luks"] if "luks" in settings else []
    extra += ["source"] if desired.disk.origin else []
    extra += ["monitor"] if desired.monitor else []
    if extra:
        raise DeclarationError("tgt", f"is for the storage host, and {extra[0]} is for a hypervisor; use two tasks")
    for name in ("user", "password", "target"):
        if name in source and not _is_plain(source[name]):
            raise DeclarationError(name, f"its text {_PLAIN_HELP}")
    if source["lun"] == 0:
        raise DeclarationError("lun", "0 is the controller of a tgt target; its first disk is 1")


def _is_plain(text: str) -> bool:
    return not text or bool(re.fullmatch(_PLAIN, text))


def lun_of(desired: DesiredImage) -> KeptLun:
    """Return the declared LUN."""
    options, source = desired.provision["tgt"], desired.disk.source
    derived = hashlib.sha256(f"{source['target']}/{source['lun']}".encode()).hexdigest()[:16]
    return KeptLun(options["store"], options.get("serial", derived), options["thin"], options["read_only"])


def to_keep(desired: DesiredImage, kept: KeptTarget) -> KeptTarget:
    """Return the target's configuration with this LUN; other LUNs in it stay."""
    source, number = desired.disk.source, desired.disk.source["lun"]
    luns = {other: lun for other, lun in kept.luns.items() if other != number}
    if desired.state == "absent":
        return replace(kept, luns=luns)
    initiators = desired.provision["tgt"]["initiators"]
    user, password = source.get("user", ""), source.get("password", "")
    return KeptTarget(source["target"], {**luns, number: lun_of(desired)}, user, password, tuple(initiators))
