# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Detects the kind of the input and converts it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._adopt import drives, libvirt
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.arguments import read_arguments
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.cd_drives import declare_cd_drive
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.command_line import (
    Process,
    context_of,
    read_command_line,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.disks import lone_disk
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.graph import ConvertedDisk, read_probed
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.libvirt_controllers import DomainContext
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.libvirt_domain import read_domain
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.result import (
    Converted,
    converted_disk,
    converted_vm,
    covered,
    without_secrets,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.settings import Conversion
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.shell import (
    Command,
    find_command,
    read_script,
    refuse_unknown_start,
    split_words,
    unknown_start,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.storage import NAME, read_storage
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.texts import shown
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.command_line_context import CommandLineContext
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import Collected, DeclarationError

_KEYVAL = re.compile("[A-Za-z][A-Za-z0-9_.-]*[=,]")
_LINE = re.compile(r"\s*-{1,2}[a-z]+\s")
_SHELL = re.compile("#!")
_WITH_OPTIONS = re.compile(r"[^:,=]*\s-{1,2}[A-Za-z][A-Za-z0-9_-]*\s")
"""Prefix of a command that would otherwise be taken for the path of an image."""
_BLOCKDEV = re.compile(
    r"\{|(driver=|node-name=|[a-z0-9_-]+,)(?!(.*[^,],)?(if|id|index|media|snapshot|readonly|format|[wr]error)=)",
    re.DOTALL,
)
"""Prefixes of a node in text, without options of -drive."""


def convert(given: Any, *, name: str = "", process: Process | None = None) -> Converted:
    """Convert a disk, or a VM from a whole command line; given: text, the words of a command line, or a node."""
    process = process or Process()
    try:
        return without_secrets(_converted(given, name, process), given)
    except (DeclarationError, Collected) as error:
        raise covered(error, given) from None


def _converted(given: Any, name: str, process: Process) -> Converted:
    context = CommandLineContext(directory=process.directory)
    if isinstance(given, Mapping):
        return _disk(name, drives.read_blockdev(dict(given), {}, context, "-blockdev"))
    command = _command(given)
    if command and command.words:
        known = replace(process, name=name or process.name, directory=command.directory or process.directory)
        vm = read_command_line(command.words, known)
        return replace(vm, left=[*command.left, *vm.left])
    words = _words(given)
    if words:
        return _disk(name, _read_options(words, process))
    if isinstance(given, str) and given.lstrip().startswith("<"):
        return _read_xml(given, name)
    return _disk(name, _read_text(str(given), context))


def _read_xml(text: str, name: str) -> Converted:
    """Convert a domain or a disk of libvirt; pools may stand beside it."""
    elements = libvirt.parse(text.strip())
    pools = libvirt.pools_of(elements)
    domains = [element for element in elements if element.tag == "domain"]
    disks = [element for element in elements if element.tag == "disk"]
    if len(domains) == 1 and not disks:
        vm_name, result = read_domain(domains[0], pools, name)
        return converted_vm(vm_name, result.vm, result.left, result.notes)
    if len(disks) != 1 or domains:
        raise DeclarationError("libvirt", "exactly one <disk> or <domain> is required, with the <pool>s of its volumes")
    return _disk(name, libvirt.read_disk(disks[0], DomainContext(pools)))


def _disk(name: str, result: ConvertedDisk) -> Converted:
    return converted_disk(name, result.declared, result.left, result.notes)


def _command(given: Any) -> Command | None:
    """Return the command line of a whole VM; None if the input is something else."""
    if isinstance(given, str):
        return read_script(given.strip())
    if not _is_words(given):
        return None
    command = find_command(given)
    if command is None:
        refuse_unknown_start(given)
        if given[1:] and not given[0].startswith("-") and given[1].startswith("-"):
            raise unknown_start(given[0])
    return command


def _is_words(given: Any) -> bool:
    return isinstance(given, Sequence) and bool(given) and all(isinstance(word, str) for word in given)


def _words(given: Any) -> list[str]:
    """Return the words of options without a program's name; empty if the input is something else."""
    if isinstance(given, Sequence) and not isinstance(given, str):
        if not _is_words(given):
            raise DeclarationError("command line", "is not a list of words")
        return list(given)
    if not isinstance(given, str):
        raise DeclarationError("", "is neither text nor a list of words nor a node")
    text = given.strip()
    if not text:
        raise DeclarationError("", "is empty")
    if _SHELL.match(text):
        raise DeclarationError("command line", "is a script that starts no QEMU; pass the text that does")
    return split_words(text) if _LINE.match(text) else []


def _read_options(words: Sequence[str], process: Process) -> ConvertedDisk:
    """Convert the only disk of some options without a program's name."""
    conversion = Conversion(read_arguments(["kvm", *words]))
    return lone_disk(conversion, context_of(conversion, process))


def _read_text(text: str, context: CommandLineContext) -> ConvertedDisk:
    if _BLOCKDEV.match(text):
        return drives.read_blockdev(drives.read_blockdev_text(text), {}, context, "-blockdev")
    if text.startswith("json:"):
        text = f"if=none,file={text.replace(',', ',,')}"
    if not _KEYVAL.match(text):
        if _WITH_OPTIONS.match(text):
            problem = f"begins with {shown(text.split()[0])}, which is not known here to start QEMU"
            raise DeclarationError("command line", f"{problem}; pass the command line from QEMU's program on")
        result = ConvertedDisk()
        backend, options = read_storage({NAME: text}, context, "file", result.left)
        result.declared[backend.name] = options
        read_probed(result.declared, result, "file")
        drives.refuse_writes(result.declared, result)
        return result
    drive = drives.split_drive(text)
    result = drives.read_drive(drive, context, "-drive", is_cd=drive.is_cd)
    if drive.interface not in drives.MODELS:
        raise DeclarationError("-drive", f"if={shown(drive.interface)} is not a disk")
    model = drives.MODELS[drive.interface]
    if drive.is_cd:
        declare_cd_drive(result, "ide")
    elif model not in ("", "virtio-blk"):
        result.declared["model"] = model
    return result
