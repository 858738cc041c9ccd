# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The storage that the options of a disk name: how to describe, check and compare it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Callable

from ansible_collections.directdisk.qemu.plugins.module_utils._backends.values import Values


@dataclass(frozen=True)
class Source:
    """The meaning of the values of a backend's options, without opening anything."""

    sample: Values
    """Values that fit the schema: the probe offers their node to QEMU."""
    describe: Callable[[Values], str]
    """Describe the storage in a few words for people, without a secret."""
    identity: Callable[[Values], str]
    """Return the same text for two declarations of the same bytes, however they are spelled."""
    pool: Callable[[Values], str]
    """Return what holds the image: a pool, a volume, a directory or a target."""
    writable: bool
    """False if no image of this backend can be written."""
    why_read_only: Callable[[Values], str] = lambda values: ""
    """Return why these values cannot be written; empty if they can."""
    resizable: bool = False
    """True if images can be created and grown here; otherwise the server decides their size."""
    local: Callable[[Values], bool] = lambda values: False
    """Return True if the same values mean other bytes on another host."""
    other_identities: Callable[[Values], tuple[str, ...]] = lambda values: ()
    """Return further identities of the same bytes: of a declaration with fewer options, or through other servers."""
    possible_identities: Callable[[Values], Iterable[tuple[str, str]]] = lambda values: ()
    """Yield identities that the storage may have, with the reason why this cannot be decided from outside."""
    if_different: str = ""
    """Declaration to use if two storages have the same identity but are different."""
    relocate: Callable[[Values, Callable[[str], str]], Values] = lambda values, rename: {
        name: rename(value) if name in ("host", "socket") else value for name, value in values.items()
    }
    """Replace each server name and each path on the host by rename(it)."""
    snapshot_options: tuple[str, ...] = ()
    """Options that select an earlier state of an image, not another image."""
    check: Callable[[Values], None] = lambda values: None
    """Raise DeclarationError for errors that the option table cannot express."""
    check_disk: Callable[[Values, Values], None] = lambda values, settings: None
    """Raise DeclarationError for options that conflict with the disk's own settings."""
