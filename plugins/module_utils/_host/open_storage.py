# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""QEMU processes that no unit of the collection started, and the storage that each has open. Read-only."""

from __future__ import annotations

import glob
import os
import re
import stat
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DirectDiskError
from ansible_collections.directdisk.qemu.plugins.module_utils._units import paths as unit_paths

if TYPE_CHECKING:
    from ansible_collections.directdisk.qemu.plugins.module_utils._host.unmanaged import Start

_PROGRAM = re.compile(r"(.*/)?(qemu-system-[^/ ]+|qemu-kvm|kvm|qemu-nbd|qemu-storage-daemon)")
_DISK_OPTIONS = ("drive", "blockdev", "hda", "hdb", "hdc", "hdd", "cdrom")
_WRITE = os.O_WRONLY | os.O_RDWR

FileKey = tuple[str, int, int]


def unmanaged_processes(paths: Iterable[str], *, proc: str = "/proc") -> list[dict[str, Any]]:
    """Each with its disks as far as they can be told, and which of the paths it has open, under any name.

    ``vm``: false for qemu-nbd and qemu-storage-daemon; ``opens``: of the paths, those that the process has open, and
    if it may write to them. No secret's text leaves this function.
    """
    processes = [folder for folder in glob.glob(f"{proc}/[0-9]*") if _is_unmanaged(folder)]
    if not processes:
        return []
    keys = {path: key for path in paths for key in [_key(path)] if key}
    return [
        {**_declared(folder), "opens": _opens(folder, keys)}
        for folder in sorted(processes, key=lambda folder: int(os.path.basename(folder)))
    ]


def _is_unmanaged(folder: str) -> bool:
    """A kernel thread, or a process that has ended meanwhile, has no command line."""
    try:
        with open(f"{folder}/cmdline", "rb") as stream:
            program = os.fsdecode(stream.read(4096).partition(b"\0")[0])
        if not _PROGRAM.fullmatch(program):
            return False
        with open(f"{folder}/cgroup", encoding="utf-8", errors="replace") as stream:
            units = re.findall(r"/([^/\n]+\.service)(?=/|$)", stream.read(), re.MULTILINE)
    except OSError:
        return False
    return not any(map(unit_paths.vm_of_unit, units))


def _declared(folder: str) -> dict[str, Any]:
    """The process as it would be declared, or only those of its disks that can be read one by one."""
    # Most hosts have no such process, and need none of the converter.
    from ansible_collections.directdisk.qemu.plugins.module_utils._host import unmanaged

    start = unmanaged.start_of(folder)
    process = {"pid": start.pid, "unit": start.unit, "uuid": _value_after(start.words, "uuid").lower()}
    program = os.path.basename(start.words[0]) if start.words else ""
    if not program.startswith("qemu-system-") and program not in ("qemu-kvm", "kvm"):
        return {**process, "name": program, "vm": False, "disks": {}}
    declared = unmanaged.as_declared(start, set())
    disks = _single_disks(start) if declared["problem"] else declared["declaration"].get("disks") or {}
    return {**process, "name": declared["name"], "vm": True, "disks": disks}


def _single_disks(start: Start) -> dict[str, Any]:
    """The disks of a command line that cannot be converted whole; one that depends on another option is left out."""
    from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.convert import convert

    disks: dict[str, Any] = {}
    for option, value in zip(start.words, start.words[1:]):
        if option.lstrip("-") in _DISK_OPTIONS and option.startswith("-"):
            with suppress(DirectDiskError):
                disks[f"disk{len(disks)}"] = convert([option, value], process=start.process).declaration
    return disks


def _value_after(words: list[str], option: str) -> str:
    return next((value for name, value in zip(words, words[1:]) if name in (f"-{option}", f"--{option}")), "")


def _key(path: str) -> FileKey | None:
    """Equal for two names of one file or device."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    if stat.S_ISREG(found.st_mode):
        return ("file", found.st_dev, found.st_ino)
    if stat.S_ISBLK(found.st_mode) or stat.S_ISCHR(found.st_mode):
        return ("device", stat.S_IFMT(found.st_mode), found.st_rdev)
    return None


def _opens(folder: str, keys: dict[str, FileKey]) -> dict[str, bool]:
    descriptors: dict[FileKey, bool] = {}
    for descriptor in glob.glob(f"{folder}/fd/*"):
        key = _key(descriptor)
        if key:
            writes = _writes(f"{folder}/fdinfo/{os.path.basename(descriptor)}")
            descriptors[key] = descriptors.get(key, False) or writes
    return {path: descriptors[key] for path, key in keys.items() if key in descriptors}


def _writes(fdinfo: str) -> bool:
    """If a descriptor is open for writing; one that cannot be read counts as such."""
    try:
        with open(fdinfo, encoding="ascii") as stream:
            flags = re.search(r"^flags:\s*([0-7]+)", stream.read(), re.MULTILINE)
    except OSError:
        return True
    return flags is None or bool(int(flags[1], 8) & _WRITE)
