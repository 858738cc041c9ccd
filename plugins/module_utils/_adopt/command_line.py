# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Converts a whole QEMU command line to the declaration of a VM."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count

from ansible_collections.directdisk.qemu.plugins.module_utils._adopt import settings
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.arguments import Argument, read_arguments
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.boot import boot_from_cds
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.disks import read_disks
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.firmware import read_firmware
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.guest_agent import read_guest_agent
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.leftovers import read_leftovers
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.networks import read_networks
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.places import number_of
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.qemu_options import REMOVED
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.removed_options import HAS_REMOVED
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.result import Converted, converted_vm
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.screen import read_screen
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.tpm import read_tpm
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.command_line_context import CommandLineContext
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration import vm
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.schema import UUID_PATTERN
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.vm_settings import NO_UUID


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
    conversion = settings.Conversion(read_arguments(words))
    gone = [word for word in words if word.startswith("-") and word.lstrip("-") in REMOVED]
    conversion.left += [f"{word}: -{' '.join(REMOVED[word.lstrip('-')])} in its place, {HAS_REMOVED}" for word in gone]
    called = settings.read_name(conversion.arguments)
    name = _unused(vm_name(called or process.name), process.taken, conversion)
    context = context_of(conversion, process, called)
    _read_uuid(conversion, name)
    settings.read_settings(conversion, binary=words[0])
    read_firmware(conversion)
    read_tpm(conversion)
    read_screen(conversion, context)
    read_disks(conversion, context)
    boot_from_cds(conversion)
    read_networks(conversion, process.bridges)
    read_guest_agent(conversion)
    read_leftovers(conversion, context)
    return converted_vm(name, conversion.vm, conversion.left, conversion.notes)


def vm_name(text: str) -> str:
    """Return a valid name for a declaration."""
    return re.sub("^[^A-Za-z0-9]+", "", re.sub("[^A-Za-z0-9_-]+", "-", text))[:28].rstrip("-") or "vm"


def _unused(name: str, taken: frozenset[str], conversion: settings.Conversion) -> str:
    if name not in taken:
        return name
    conversion.notes.append(f"another VM is named {name}, too")
    return next(one for one in (f"{name[:22]}-{number}" for number in count(2)) if one not in taken)


def _uuids(conversion: settings.Conversion) -> list[str]:
    """Return the VM's UUIDs, the one that QEMU takes last: that of -smbios, or else that of -uuid.

    QEMU takes one of zeroes for none.
    """
    own = [argument.value for argument in conversion.of("uuid")]
    smbios = [
        str(a.values["uuid"])
        for a in conversion.of("smbios")
        if number_of(a.values.get("type")) == 1 and "uuid" in a.values
    ]
    texts = [text.lower() for text in (*own, *smbios) if re.fullmatch(UUID_PATTERN, text)]
    return [text for text in texts if text != NO_UUID]


def _read_uuid(conversion: settings.Conversion, name: str) -> None:
    """Declare the UUID, unless the VM would get it anyway."""
    uuids = _uuids(conversion)
    if not uuids:
        return
    if uuids[-1] != vm.uuid_of(name):
        conversion.vm["uuid"] = uuids[-1]
    conversion.take(*conversion.of("uuid"))
    conversion.arguments = [_without_uuid(argument) for argument in conversion.arguments]
    conversion.take(*(a for a in conversion.of("smbios") if a.value == "type=1"))


def _without_uuid(argument: Argument) -> Argument:
    if argument.option != "smbios" or str(argument.values.get("type")) != "1":
        return argument
    rest = {key: value for key, value in argument.values.items() if key != "uuid"}
    text = ",".join(f"{key}={str(value).replace(',', ',,')}" for key, value in rest.items())
    return replace(argument, value=text, values=rest)


def context_of(conversion: settings.Conversion, process: Process, called: str | None = None) -> CommandLineContext:
    """Return the context; called: QEMU's name of the VM, None if there is no VM."""
    uuids = _uuids(conversion)
    ours = called is not None and bool(uuids) and uuids[-1] == vm.uuid_of(called)
    return CommandLineContext(
        objects={name: a.values for a in conversion.of("object") for name in a.names},
        beside={
            a.option: [one.values for one in conversion.arguments if one.option == a.option]
            for a in conversion.arguments
        },
        vm=None if ours else called,
        uuid=uuids[-1] if uuids else "",
        user=process.user,
        directory=process.directory,
        open_files=process.open_files,
    )
