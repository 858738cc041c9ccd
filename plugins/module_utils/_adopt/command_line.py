# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a whole command line of QEMU to a machine."""

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
    """What is known of the process beside its command line."""

    name: str = ""
    """For the machine, where the command line has none."""
    directory: str = ""
    """Where it was started; empty where that is not known."""
    open_files: tuple[str, ...] = ()
    user: str = ""
    bridges: Mapping[str, str] = field(default_factory=dict)
    taken: frozenset[str] = frozenset()
    """Names that other machines have already."""


def read_command_line(words: Sequence[str], process: Process) -> Converted:
    """The machine that a command line runs."""
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
    """A name that a declaration can have."""
    return re.sub("^[^A-Za-z0-9]+", "", re.sub("[^A-Za-z0-9_-]+", "-", text))[:28].rstrip("-") or "vm"


def _unused(name: str, taken: frozenset[str], found: settings.Found) -> str:
    if name not in taken:
        return name
    found.notes.append(f"another machine is called {name}, too")
    return next(one for one in (f"{name[:22]}-{number}" for number in count(2)) if one not in taken)


def _take_uuid(found: settings.Found, name: str) -> None:
    """The UUID that the machine would have anyway need not be said."""
    uuids = found.of("uuid")
    if uuids and uuids[-1].value.lower() == vm.uuid_of(name):
        found.take(*uuids)


def context_of(found: settings.Found, process: Process, called: str | None = None) -> CommandLineContext:
    """called: the machine's name for QEMU; None where there is no machine."""
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
