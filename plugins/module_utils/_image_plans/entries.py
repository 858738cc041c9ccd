# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The disks of a batch, as they are declared and as they travel between controller and host. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.cd_drive import is_empty_drive
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import read_image
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import Collected, DeclarationError
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.argument_spec import MODULE_OPTIONS
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.contract import DesiredImage
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.kinds import read_desired
from ansible_collections.directdisk.qemu.plugins.module_utils._options.option import Option
from ansible_collections.directdisk.qemu.plugins.module_utils._options.read import raise_collected, read_options

ENTRY_OPTIONS = (
    Option("name", "Name of the disk in results and errors."),
    Option("closing", "Name of the VM of this host that has the disk open, for a prediction of what follows its stop."),
    *(option for option in MODULE_OPTIONS if option.name != "open_timeout"),
)
"""Options of a disk in a batch beside its declaration."""

NODE_PREFIX = "disk"
"""Prefix of the names of a disk's nodes, as in the modules for one disk."""


@dataclass(frozen=True)
class Named:
    """A disk or server with a result of its own in a batch."""

    name: str

    def error_lines(self, error: Exception) -> list[str]:
        """Return the lines of an error, each with the name of the disk."""
        return [about(self.name, line) for line in str(error).splitlines() or [type(error).__name__]]


@dataclass(frozen=True)
class Entry(Named):
    """One disk of a batch."""

    desired: DesiredImage


def read_entries(declared: Any) -> list[Entry]:
    """Read the disks of a batch, a mapping or a list; raises all errors of all disks together."""
    entries: list[Entry] = []
    errors: list[Exception] = []
    for name, disk in named_disks(declared):
        try:
            entries.append(_read_entry(name, disk, len(entries) + len(errors) + 1))
        except (DeclarationError, Collected) as error:
            errors.append(error)
    errors += _shared_storage(entries)
    raise_collected(errors)
    return entries


def named_disks(declared: Any) -> Iterable[tuple[str, Any]]:
    """Return the disks with their names, empty for those of a list; without CD drives that have no medium."""
    if isinstance(declared, Mapping):
        return [(str(name), disk) for name, disk in declared.items() if not is_empty_drive(disk)]
    if isinstance(declared, (list, tuple)):
        return [("", disk) for disk in declared if not is_empty_drive(disk)]
    raise DeclarationError("disks", "is neither a list of disks nor a mapping of names to disks")


def _read_entry(name: str, entry: Any, position: int) -> Entry:
    names = {option.name for option in ENTRY_OPTIONS}
    options = entry if isinstance(entry, Mapping) else {}
    name = name or str(options.get("name") or "")
    where = f"disk {name or position}"
    values = read_options(ENTRY_OPTIONS, {key: options[key] for key in options if key in names}, where)
    declared = {key: options[key] for key in options if key not in names} if options else entry
    disk = read_image(NODE_PREFIX, declared, where)
    running = {option: values.get(option, "") for option in ("monitor", "node", "closing")}
    desired = read_desired(disk, where, state=values["state"], **running)
    return Entry(name or disk.described, desired)


def _shared_storage(entries: Iterable[Entry]) -> list[DeclarationError]:
    """Refuse two entries for the same storage if one changes it: two workers would change it at once."""
    errors = []
    observed: dict[str, Entry] = {}
    for entry in entries:
        disk = entry.desired.disk
        other = observed.setdefault(disk.identity, entry)
        states = {entry.desired.state, other.desired.state}
        # Reading an image changes at most this host's copy, which both disks share.
        shares = not disk.backend.source.writable and disk.provision == other.desired.disk.provision
        if other is not entry and {"present", "absent"} & states and not (shares and states == {"present"}):
            problem = f"is the same storage as disk {other.name}, and one of them changes it ({disk.described})"
            errors.append(DeclarationError(f"disk {entry.name}", problem))
    return errors


def about(name: str, line: str) -> str:
    """Return an error line with the disk's name; a disk without a name is named by its storage, once."""
    where = f"disk {name}: "
    return line if line.startswith(where) else where + line.removeprefix(f"{name}: ")
