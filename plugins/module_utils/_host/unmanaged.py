# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The machines of a host that are not the collection's: processes of QEMU, and units that start it. Read-only."""

from __future__ import annotations

import contextlib
import glob
import os
import pwd
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._adopt import unit_file
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.arguments import is_command_line
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.command_line import Process, machine_name
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.convert import convert
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DirectDiskError
from ansible_collections.directdisk.qemu.plugins.module_utils._printable import printable, printable_data
from ansible_collections.directdisk.qemu.plugins.module_utils._units import paths

UNIT_FOLDERS = (
    "/etc/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
)
_QEMU = re.compile("qemu-system-|qemu-kvm |/kvm ")


@dataclass(frozen=True)
class Start:
    """How a machine is started, as its process or its unit says."""

    words: list[str]
    process: Process
    unit: str
    pid: int = 0
    problem: str = ""


def unmanaged_vms(*, proc: str = "/proc", folders: tuple[str, ...] = UNIT_FOLDERS) -> list[dict[str, Any]]:
    """Each as it would be declared, or why it cannot be; no secret's text leaves this function."""
    starts = list(_running(proc))
    known = {start.unit for start in starts}
    starts += [start for start in _units(folders) if start.unit not in known]
    found: list[dict[str, Any]] = []
    for start in starts:
        found.append(as_declared(start, {machine["name"] for machine in found}))
    return found


def as_declared(start: Start, taken: set[str]) -> dict[str, Any]:
    """taken: the names of other machines."""
    facts = printable_data({"pid": start.pid, "unit": start.unit})
    problem = start.problem
    if not problem:
        try:
            converted = convert(start.words, process=replace(start.process, taken=frozenset(taken)))
            found = converted.as_dict()
            # A declaration is data: its file names and the like are kept to the letter.
            shown = {key: value for key, value in found.items() if key != "declaration"}
            return {**facts, "problem": "", **printable_data(shown), "declaration": found["declaration"]}
        except DirectDiskError as error:
            problem = str(error)
    name = machine_name(start.process.name)
    return {
        **facts,
        "problem": printable(problem),
        "name": name,
        "declaration": {},
        "secrets": [],
        "left": [],
        "notes": [],
    }


def _running(proc: str) -> Iterator[Start]:
    processes = sorted(glob.glob(f"{proc}/[0-9]*"), key=lambda path: int(os.path.basename(path)))
    for folder in processes:
        words = _command_line(folder)
        unit = _unit_of(folder)
        if is_command_line(words) and not paths.vm_of_unit(unit):
            yield start_of(folder)


def start_of(folder: str) -> Start:
    """How the process of a folder of /proc was started."""
    words, unit = _command_line(folder), _unit_of(folder)
    return Start(words, _process(folder, unit, words), unit, int(os.path.basename(folder)))


def _command_line(folder: str) -> list[str]:
    """None where the process has ended meanwhile, or is one of the kernel's."""
    try:
        with open(f"{folder}/cmdline", "rb") as stream:
            text = stream.read()
    except OSError:
        return []
    return [os.fsdecode(word) for word in text.rstrip(b"\0").split(b"\0")] if text else []


def _unit_of(folder: str) -> str:
    """The service that a process belongs to; empty where it is none's."""
    try:
        with open(f"{folder}/cgroup", encoding="utf-8", errors="replace") as stream:
            services = re.findall(r"/([^/\n]+\.service)(?=/|$)", stream.read(), re.MULTILINE)
    except OSError:
        return ""
    return str(services[-1]) if services and not services[-1].startswith("user@") else ""


def _process(folder: str, unit: str, words: list[str]) -> Process:
    process = Process(name=unit.removesuffix(".service"), bridges=_bridges())
    try:
        process = replace(process, user=pwd.getpwuid(os.stat(folder).st_uid).pw_name)
        if {"-daemonize", "--daemonize"} & set(words):
            # It has gone to / by now, and only its open files tell where it was.
            return replace(process, open_files=_open_files(folder))
        return replace(process, directory=os.readlink(f"{folder}/cwd"))
    except (OSError, KeyError):
        return process


def _open_files(folder: str) -> tuple[str, ...]:
    """The files that a process has open; one that was removed meanwhile ends in ' (deleted)'."""
    found = []
    for link in glob.glob(f"{folder}/fd/*"):
        with contextlib.suppress(OSError):
            found.append(os.readlink(link))
    return tuple(path for path in found if path.startswith("/"))


def _bridges() -> dict[str, str]:
    """By network interface, the bridge that it is in."""
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
        for words in unit_file.start_commands(text):
            if is_command_line(words):
                yield Start(words, process, unit)
            elif _QEMU.search(" ".join(words)):
                yield Start([], process, unit, problem=f"ExecStart: {words[0]} starts QEMU; start it, and look again")
    except DirectDiskError as error:
        yield Start([], process, unit, problem=str(error))
