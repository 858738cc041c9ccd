# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Disks that are only read, and servers whose disks are listed, as they are declared. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._backends.contract import Backend
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.registry import BACKENDS
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.values import Values
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import read_image
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import Collected, DeclarationError
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.desired import read_place
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.entries import (
    NODE_PREFIX,
    Entry,
    Named,
    named_disks,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.kinds import KINDS, read_desired
from ansible_collections.directdisk.qemu.plugins.module_utils._options.option import Option
from ansible_collections.directdisk.qemu.plugins.module_utils._options.read import raise_collected, read_options

_ENTRY_OPTIONS = (Option("name", "Name of the disk in results and errors."),)


@dataclass(frozen=True)
class ListedServer(Named):
    """A server whose disks are listed."""

    backend: Backend
    place: Values


def read_info_entries(declared: Any) -> list[Entry | ListedServer]:
    """Read one disk, a list or a mapping of disks; raises all errors of all disks together."""
    entries: list[Entry | ListedServer] = []
    errors: list[Exception] = []
    disks = [("", declared)] if _is_one_disk(declared) else named_disks(declared)
    for position, (name, disk) in enumerate(disks, 1):
        try:
            entries.append(_read_entry(name, disk, position))
        except (DeclarationError, Collected) as error:
            errors.append(error)
    raise_collected(errors)
    return entries


def _is_one_disk(declared: Any) -> bool:
    return isinstance(declared, Mapping) and ("uri" in declared or any(name in BACKENDS for name in declared))


def _read_entry(name: str, declared: Any, position: int) -> Entry | ListedServer:
    options = declared if isinstance(declared, Mapping) else {}
    name = name or str(options.get("name") or "")
    where = f"disk {name or position}"
    if "state" in options:
        raise DeclarationError(f"{where}: state", "a disk is only read here; leave state out")
    read_options(_ENTRY_OPTIONS, {key: options[key] for key in options if key == "name"}, where)
    rest = {key: value for key, value in options.items() if key != "name"} if options else declared
    server = _read_server(name, rest, where)
    if server:
        return server
    disk = read_image(NODE_PREFIX, rest, where)
    return Entry(name or disk.described, read_desired(disk, where, state="info", monitor="", node="", closing=""))


def _read_server(name: str, declared: Any, where: str) -> ListedServer | None:
    """Return the server whose disks are to be listed; None for a disk."""
    keys = [key for key in declared if key in BACKENDS] if isinstance(declared, Mapping) else []
    if len(keys) != 1 or len(declared) != 1 or not isinstance(declared[keys[0]], Mapping):
        return None
    backend = BACKENDS[keys[0]]
    values = {key: value for key, value in declared[keys[0]].items() if value is not None}
    place = read_place(KINDS[backend.image_kind], values, f"{where}: {backend.name}")
    return None if place is None else ListedServer(name or f"{backend.name} server", backend, place)
