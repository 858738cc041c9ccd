# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Converts a whole QEMU command line to the declaration of a VM."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count

from ansible_collections.directdisk.qemu.plugins.module_utils._adopt import settings
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.arguments import read_arguments
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.disks import read_disks
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.leftovers import read_leftovers
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.networks import read_networks
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.result import Converted, converted_vm
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.command_line_context import CommandLineContext
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration import vm


@dataclass(frozen=True)
class Process:
    """Facts about the process beside its command line."""

    name: str = ""
    """The name of the VM if the command line has none."""
    directory: str = ""
    """Its working directory; empty if unknown."""
    open_files: tuple[str, ...] = ()
    user: str = ""
    bridges: Mapping[str, str] = field(default_factory=dict)
    taken: frozenset[str] = frozenset()
    """Names of other VMs."""


def read_command_line(words: Sequence[str], process: Process) -> Converted:
    """Convert a command line to the declaration of its VM."""
    found = settings.Found(read_arguments(words))
    called = settings.read_name(found.arguments)
    name = _unused(vm_name(called or process.name), process.taken, found)
    context = context_of(found, process, called)
    _take_uuid(found, name)
    settings.read_settings(found, context, binary=words[0])
    read_disks(found, context)
    read_networks(found, process.bridges)
    read_leftovers(found)
    return converted_vm(name, found.vm, found.left, found.notes)


def vm_name(text: str) -> str:
    """Return a valid name for a declaration."""
    return re.sub("^[^A-Za-z0-9]+", "", re.sub("[^A-Za-z0-9_-]+", "-", text))[:28].rstrip("-") or "vm"


def _unused(name: str, taken: frozenset[str], found: settings.Found) -> str:
    if name not in taken:
        return name
    found.notes.append(f"another VM is named {name}, too")
    return next(one for one in (f"{name[:22]}-{number}" for number in count(2)) if one not in taken)


def _take_uuid(found: settings.Found, name: str) -> None:
    """Omit a UUID that the VM would get anyway."""
    uuids = found.of("uuid")
    if uuids and uuids[-1].value.lower() == vm.uuid_of(name):
        found.take(*uuids)


def context_of(found: settings.Found, process: Process, called: str | None = None) -> CommandLineContext:
    """Return the context; called: QEMU's name of the VM, None if there is no VM."""
    uuids = found.of("uuid")
    ours = called is not None and bool(uuids) and uuids[-1].value.lower() == vm.uuid_of(called)
    return CommandLineContext(
        objects={name: a.said for a in found.of("object") for name in a.names},
        beside={a.option: [one.said for one in found.arguments if one.option == a.option] for a in found.arguments},
        vm=None if ours else called,
        uuid="" if not uuids else uuids[-1].value,
        user=process.user,
        directory=process.directory,
        open_files=process.open_files,
    )
