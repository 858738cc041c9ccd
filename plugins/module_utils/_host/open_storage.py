# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The QEMU processes that no unit of the collection started, and the storage that each has open. Read-only."""

from __future__ import annotations

import glob
import os
import re
import stat
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DirectDiskError
from ansible_collections.directdisk.qemu.plugins.module_utils._host.process_folders import (
    command_line_of,
    service_of,
    services_of,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.host_state import UnmanagedProcess
from ansible_collections.directdisk.qemu.plugins.module_utils._units import paths as unit_paths

if TYPE_CHECKING:
    from ansible_collections.directdisk.qemu.plugins.module_utils._host.unmanaged import Start

_PROGRAM = re.compile(r"(.*/)?(qemu-system-[^/ ]+|qemu-kvm|kvm|qemu-nbd|qemu-storage-daemon)")
_DISK_OPTIONS = ("drive", "blockdev", "hda", "hdb", "hdc", "hdd", "cdrom")
_WRITE = os.O_WRONLY | os.O_RDWR

FileKey = tuple[str, int, int]


def unmanaged_processes(paths: Iterable[str], *, proc: str = "/proc") -> list[UnmanagedProcess]:
    """Return the processes, with those of the paths that each has open under any name. The result has no secret."""
    processes = [folder for folder in glob.glob(f"{proc}/[0-9]*") if _is_unmanaged(folder)]
    if not processes:
        return []
    keys = {path: key for path in paths for key in [_key(path)] if key}
    return [
        _process(folder, _opens(folder, keys))
        for folder in sorted(processes, key=lambda folder: int(os.path.basename(folder)))
    ]


def _is_unmanaged(folder: str) -> bool:
    """Return if a process is a QEMU that no unit of the collection started."""
    try:
        with open(f"{folder}/cmdline", "rb") as stream:
            # Kernel threads, and processes that have ended meanwhile, have no command line.
            program = os.fsdecode(stream.read(4096).partition(b"\0")[0])
        if not _PROGRAM.fullmatch(program):
            return False
        units = services_of(folder)
    except OSError:
        return False
    return not any(map(unit_paths.vm_of_unit, units))


def _process(folder: str, opens: dict[str, bool]) -> UnmanagedProcess:
    """Describe a process with its disks; if its command line cannot be converted, with those that can."""
    arguments = command_line_of(folder)
    process: UnmanagedProcess = {
        "pid": int(os.path.basename(folder)),
        "unit": service_of(folder),
        "uuid": _value_after(arguments, "uuid").lower(),
        "name": os.path.basename(arguments[0]) if arguments else "",
        "vm": False,
        "disks": {},
        "opens": opens,
    }
    if not process["name"].startswith("qemu-system-") and process["name"] not in ("qemu-kvm", "kvm"):
        return process
    # Imported here because most hosts have no such process.
    from ansible_collections.directdisk.qemu.plugins.module_utils._host import unmanaged

    start = unmanaged.start_of(folder)
    converted = unmanaged.as_declared(start, set())
    disks = _single_disks(start) if converted["problem"] else converted["declaration"].get("disks") or {}
    return {**process, "name": converted["name"], "vm": True, "disks": disks}


def _single_disks(start: Start) -> dict[str, Any]:
    """Return the disks of a command line that cannot be converted as a whole, without those that need other options."""
    from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.convert import convert

    disks: dict[str, Any] = {}
    for option, value in zip(start.arguments, start.arguments[1:]):
        if option.lstrip("-") in _DISK_OPTIONS and option.startswith("-"):
            with suppress(DirectDiskError):
                disks[f"disk{len(disks)}"] = convert([option, value], process=start.process).declaration
    return disks


def _value_after(arguments: list[str], option: str) -> str:
    return next((value for name, value in zip(arguments, arguments[1:]) if name in (f"-{option}", f"--{option}")), "")


def _key(path: str) -> FileKey | None:
    """Return a key that is equal for two names of one file or device."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    if stat.S_ISREG(status.st_mode):
        return ("file", status.st_dev, status.st_ino)
    if stat.S_ISBLK(status.st_mode) or stat.S_ISCHR(status.st_mode):
        return ("device", stat.S_IFMT(status.st_mode), status.st_rdev)
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
    """Return if a descriptor is open for writing; true if that is not known."""
    try:
        with open(fdinfo, encoding="ascii") as stream:
            flags = re.search(r"^flags:\s*([0-7]+)", stream.read(), re.MULTILINE)
    except OSError:
        return True
    return flags is None or bool(int(flags[1], 8) & _WRITE)
