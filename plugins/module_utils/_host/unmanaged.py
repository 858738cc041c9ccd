# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The VMs of a host that the collection does not manage: QEMU processes, and units that start QEMU. Read-only."""

from __future__ import annotations

import contextlib
import glob
import os
import pwd
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, TypedDict

from ansible_collections.directdisk.qemu.plugins.module_utils._adopt import unit_file
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.command_line import Process, vm_name
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.convert import convert
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.shell import find_command, is_emulator
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DirectDiskError, printable, printable_data
from ansible_collections.directdisk.qemu.plugins.module_utils._host.process_folders import command_line_of, service_of
from ansible_collections.directdisk.qemu.plugins.module_utils._units import paths

UNIT_FOLDERS = (
    "/etc/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
)
_MOST_ARGUMENTS = 2000
"""A VM with 250 disks, as libvirt starts it, has some 1500."""
_QEMU = re.compile("qemu-system-|qemu-kvm |/kvm ")


@dataclass(frozen=True)
class Start:
    """The command line of a VM, from its process or its unit."""

    arguments: list[str]
    process: Process
    unit: str
    pid: int = 0
    problem: str = ""


class UnmanagedVm(TypedDict):
    """A VM as it would be declared, as qemu_info returns it."""

    pid: int
    """0 for a unit that does not run."""
    unit: str
    problem: str
    """Reason why the command line cannot be converted."""
    name: str
    declaration: dict[str, Any]
    secrets: list[dict[str, str]]
    left: list[Any]
    notes: list[str]


def unmanaged_vms(*, proc: str = "/proc", folders: tuple[str, ...] = UNIT_FOLDERS) -> list[UnmanagedVm]:
    """Return the unmanaged VMs of this host. The result has no secret."""
    starts = list(_running(proc))
    known = {start.unit for start in starts}
    starts += [start for start in _units(folders) if start.unit not in known]
    vms: list[UnmanagedVm] = []
    for start in starts:
        vms.append(as_declared(start, {vm["name"] for vm in vms}))
    return vms


def as_declared(start: Start, taken: set[str]) -> UnmanagedVm:
    """Convert a command line to a declaration; taken: the names of other VMs."""
    unit, problem = printable(start.unit), start.problem
    if not problem:
        try:
            converted = convert(start.arguments, process=replace(start.process, taken=frozenset(taken))).as_dict()
            return {
                "pid": start.pid,
                "unit": unit,
                "problem": "",
                "name": printable_data(converted["name"]),
                # A declaration is data, so its file names are not escaped.
                "declaration": converted["declaration"],
                "secrets": printable_data(converted["secrets"]),
                "left": printable_data(converted["left"]),
                "notes": printable_data(converted["notes"]),
            }
        except DirectDiskError as error:
            problem = str(error)
    return {
        "pid": start.pid,
        "unit": unit,
        "problem": printable(problem),
        "name": vm_name(start.process.name),
        "declaration": {},
        "secrets": [],
        "left": [],
        "notes": [],
    }


def _running(proc: str) -> Iterator[Start]:
    processes = sorted(glob.glob(f"{proc}/[0-9]*"), key=lambda path: int(os.path.basename(path)))
    for folder in processes:
        arguments = command_line_of(folder)
        unit = service_of(folder)
        if arguments and is_emulator(arguments[0]) and not paths.vm_of_unit(unit):
            yield start_of(folder)


def start_of(folder: str) -> Start:
    """Return the command line of the process of a folder of /proc."""
    arguments, unit = command_line_of(folder), service_of(folder)
    process, pid = _process(folder, unit, arguments), int(os.path.basename(folder))
    if len(arguments) > _MOST_ARGUMENTS:
        # Any user may have a process with this name, and its conversion would keep the host's run busy.
        problem = f"its command line has {len(arguments)} arguments, and one of more than {_MOST_ARGUMENTS} is not read"
        return Start([], process, unit, pid, problem)
    return Start(arguments, process, unit, pid)


def _process(folder: str, unit: str, arguments: list[str]) -> Process:
    process = Process(name=unit.removesuffix(".service"), bridges=_bridges())
    try:
        process = replace(process, user=pwd.getpwuid(os.stat(folder).st_uid).pw_name)
        if {"-daemonize", "--daemonize"} & set(arguments):
            # Its working directory is / now, and only its open files show where it was.
            return replace(process, open_files=_open_files(folder))
        return replace(process, directory=os.readlink(f"{folder}/cwd"))
    except (OSError, KeyError):
        return process


def _open_files(folder: str) -> tuple[str, ...]:
    """Return the files that a process has open; the name of a removed file ends in ' (deleted)'."""
    targets = []
    for link in glob.glob(f"{folder}/fd/*"):
        with contextlib.suppress(OSError):
            targets.append(os.readlink(link))
    return tuple(path for path in targets if path.startswith("/"))


def _bridges() -> dict[str, str]:
    """Return the bridges of network interfaces, by interface."""
    links = glob.glob("/sys/class/net/*/brport/bridge")
    return {link.split("/")[4]: os.path.basename(os.path.realpath(link)) for link in links}


def _units(folders: tuple[str, ...]) -> Iterator[Start]:
    seen: set[str] = set()
    for path in (path for folder in folders for path in sorted(glob.glob(f"{folder}/*.service"))):
        unit = os.path.basename(path)
        if unit in seen or paths.vm_of_unit(unit):
            continue
        seen.add(unit)
        try:
            with open(path, encoding="utf-8", errors="surrogateescape") as stream:
                text = stream.read()
        except OSError:
            continue
        if _QEMU.search(text):
            yield from _of_unit(text, unit)


def _of_unit(text: str, unit: str) -> Iterator[Start]:
    process = Process(name=unit.removesuffix(".service"))
    try:
        for arguments in unit_file.start_commands(text):
            if find_command(arguments):
                yield Start(arguments, process, unit)
            elif _QEMU.search(" ".join(arguments)):
                yield Start(
                    [],
                    process,
                    unit,
                    problem=f"ExecStart: {arguments[0]} starts QEMU; start the unit and run this again",
                )
    except DirectDiskError as error:
        yield Start([], process, unit, problem=str(error))
