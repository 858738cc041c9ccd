# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The machines of a host that are not the collection's: processes of QEMU, and units that start it. Read-only."""

from __future__ import annotations

import glob
import os
import pwd
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils import _paths, _unit_file
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DirectDiskError
from ansible_collections.directdisk.qemu.plugins.module_utils._legacy._arguments import is_command_line
from ansible_collections.directdisk.qemu.plugins.module_utils._legacy._command_line import Process
from ansible_collections.directdisk.qemu.plugins.module_utils._legacy._convert import convert

UNIT_FOLDERS = (
    "/etc/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
)


def machines_by_hand(*, proc: str = "/proc", folders: tuple[str, ...] = UNIT_FOLDERS) -> list[dict[str, Any]]:
    """Each as it would be declared, or why it cannot be; no secret's text leaves this function."""
    found = list(_running(proc))
    known = {machine["unit"] for machine in found}
    found += [machine for machine in _units(folders) if machine["unit"] not in known]
    taken: set[str] = set()
    for machine in found:
        name = machine["name"]
        while machine["name"] in taken:
            machine["notes"].append(f"there is another machine of the name {name}")
            machine["name"] = f"{machine['name'][:26]}-{len(taken)}"
        taken.add(machine["name"])
    return found


def _running(proc: str) -> Iterator[dict[str, Any]]:
    processes = sorted(glob.glob(f"{proc}/[0-9]*"), key=lambda path: int(os.path.basename(path)))
    for folder in processes:
        words = _command_line(folder)
        unit = _unit_of(folder)
        if is_command_line(words) and not _paths.vm_of_unit(unit):
            yield _converted(words, _process(folder, unit), pid=int(os.path.basename(folder)), unit=unit)


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


def _process(folder: str, unit: str) -> Process:
    process = Process(name=unit.removesuffix(".service"), bridges=_bridges())
    try:
        user = pwd.getpwuid(os.stat(folder).st_uid).pw_name
        return replace(process, directory=os.readlink(f"{folder}/cwd"), user=user)
    except (OSError, KeyError):
        return process


def _bridges() -> dict[str, str]:
    """By network interface, the bridge that it is in."""
    links = glob.glob("/sys/class/net/*/brport/bridge")
    return {link.split("/")[4]: os.path.basename(os.path.realpath(link)) for link in links}


def _units(folders: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    seen: set[str] = set()
    for path in (path for folder in folders for path in sorted(glob.glob(f"{folder}/*.service"))):
        unit = os.path.basename(path)
        if unit in seen or _paths.vm_of_unit(unit):
            continue
        seen.add(unit)
        try:
            with open(path, encoding="utf-8", errors="surrogateescape") as stream:
                text = stream.read()
        except OSError:
            continue
        if re.search("qemu-system-|qemu-kvm|/kvm ", text):
            yield from _of_unit(text, unit)


def _of_unit(text: str, unit: str) -> Iterator[dict[str, Any]]:
    try:
        words = _unit_file.start_command(text)
    except DirectDiskError as error:
        yield {**_nothing(unit.removesuffix(".service"), unit), "problem": str(error)}
        return
    if is_command_line(words):
        yield _converted(words, Process(name=unit.removesuffix(".service")), unit=unit)


def _converted(words: list[str], process: Process, *, unit: str, pid: int = 0) -> dict[str, Any]:
    try:
        return {"pid": pid, "unit": unit, "problem": "", **convert(words, process=process).as_dict()}
    except DirectDiskError as error:
        return {**_nothing(process.name or "vm", unit, pid), "problem": str(error)}


def _nothing(name: str, unit: str, pid: int = 0) -> dict[str, Any]:
    return {"pid": pid, "unit": unit, "name": name, "declaration": {}, "secrets": [], "left": [], "notes": []}
