# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rule by which the restart of a running process is due. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping

from ansible_collections.directdisk.qemu.plugins.module_utils._programs.unit_record import is_drop_in
from ansible_collections.directdisk.qemu.plugins.module_utils._units import paths

THIS_RUN = "this run"
"""Version of a credential that this run is about to write: no start can have it."""

Files = Mapping[str, Mapping[str, str]]
"""Versions of files by unit and path."""


def digest(text: str) -> str:
    """Return the version of a file with this text."""
    return hashlib.sha256(text.encode()).hexdigest()


def is_restart_due(vm: str, started_from: Files | None, written: Files) -> bool:
    """Return if a VM must be restarted; keys of its ssh-agent do not count, because they are loaded while it runs.

    started_from: as in restart_reasons; written: of the units of the VM.
    """
    keys = paths.ssh_keys_unit_name(vm)
    return bool(restart_reasons(started_from, {unit: files for unit, files in written.items() if unit != keys}))


def restart_reasons(started_from: Files | None, written: Files) -> list[str]:
    """Return how the files that are written now differ from those that a process was started from.

    started_from: as recorded at its start; None if that start was not recorded. written: of the units that count.
    """
    if started_from is None:
        return ["it is not known from which files it was started"]
    return [reason for unit, files in written.items() for reason in _differences(started_from.get(unit, {}), files)]


def _differences(started_from: Mapping[str, str], written: Mapping[str, str]) -> Iterator[str]:
    for path, version in written.items():
        if path not in started_from:
            yield f"{path} is new"
        elif started_from[path] != version:
            yield f"{path} has changed"
    yield from (f"{path} was removed" for path in started_from if path not in written and is_drop_in(path))
