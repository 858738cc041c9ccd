# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tells apart what it is given, and has it converted."""

from __future__ import annotations

import re
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._errors import Collected, DeclarationError
from ansible_collections.directdisk.qemu.plugins.module_utils._found import Surroundings
from ansible_collections.directdisk.qemu.plugins.module_utils._legacy import _drive
from ansible_collections.directdisk.qemu.plugins.module_utils._legacy._graph import PROBED_NOTE, FoundDisk
from ansible_collections.directdisk.qemu.plugins.module_utils._legacy._result import (
    Converted,
    converted_disk,
    covered,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._legacy._storage import NAME, read_storage

_KEYVAL = re.compile("[A-Za-z][A-Za-z0-9_.-]*[=,]")


def convert(given: Any, *, name: str = "", directory: str = "") -> Converted:
    """One disk, or one machine from a whole command line."""
    around = Surroundings(directory=directory)
    try:
        found = _read_text(given, around)
        return converted_disk(name, found.declared, found.left, found.notes)
    except (DeclarationError, Collected) as error:
        raise covered(error, str(given)) from None


def _read_text(text: str, around: Surroundings) -> FoundDisk:
    if text.startswith(("driver=", "{")) or ",node-name=" in text:
        return _drive.read_blockdev(_drive.read_blockdev_text(text), {}, around, "-blockdev")
    if _KEYVAL.match(text) or text.startswith("json:"):
        text = text if not text.startswith("json:") else f"file={text.replace(',', ',,')}"
        drive = _drive.split_drive(text)
        found = _drive.read_drive(drive, around, "-drive")
        if drive.interface not in _drive.MODELS:
            raise DeclarationError("-drive", f"if={drive.interface} is no disk")
        model = _drive.MODELS[drive.interface]
        found.declared.update({"model": model} if model else {})
        return found
    backend, options = read_storage({NAME: text}, around, "file")
    found = FoundDisk({backend.name: options}, notes=[PROBED_NOTE])
    _drive.refuse_writes(found.declared, found)
    return found
