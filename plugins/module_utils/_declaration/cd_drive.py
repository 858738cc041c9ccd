# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of a CD drive (``model: cdrom``): it only reads, and its medium may be missing. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._backends.registry import BACKENDS
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError

MODEL = "cdrom"
DRIVERS = {"ide": "ide-cd", "virtio-scsi": "scsi-cd", "usb": "scsi-cd"}
"""QEMU's device of a CD drive by its bus."""
DEFAULT_BUS = "ide"
WITHOUT = {
    "size": None,
    "source": None,
    "renamed_from": None,
    "iops": None,
    "bps": None,
    "discard": "ignore",
    "detect_zeroes": "off",
    "copy_on_read": False,
}
"""Options that a drive which only reads does not have, with their defaults."""


def is_empty_drive(declared: Any) -> bool:
    """Return if a disk is declared as a CD drive without a medium: it names no storage."""
    return (
        isinstance(declared, Mapping)
        and declared.get("model") == MODEL
        and "uri" not in declared
        and not any(key in BACKENDS for key in declared)
    )


def complete(settings: dict[str, Any], where: str) -> None:
    """Set the defaults of a CD drive; raise DeclarationError for options that it does not have.

    settings: the options of a disk of any model.
    """
    if settings["model"] != MODEL:
        if "bus" in settings:
            raise DeclarationError(f"{where}: bus", f"is for model: {MODEL}, not for {settings['model']}")
        return
    if settings.get("writes") not in (None, "deny"):
        raise DeclarationError(f"{where}: writes", f"{settings['writes']}: a CD drive only reads; leave writes out")
    for option, default in WITHOUT.items():
        if settings.get(option, default) != default:
            raise DeclarationError(f"{where}: {option}", f"is not for model: {MODEL}, which only reads; leave it out")
    settings["writes"] = "deny"
    settings.setdefault("bus", DEFAULT_BUS)
