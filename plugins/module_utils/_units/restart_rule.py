# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rule by which the restart of a running process is due. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from ansible_collections.directdisk.qemu.plugins.module_utils._programs.unit_record import is_drop_in

THIS_RUN = "this run"
"""Version of a credential that this run is about to write: no start can have it."""

Files = Mapping[str, Mapping[str, str]]
"""Versions of files by unit and path."""


def is_restart_due(started_from: Files | None, written: Files) -> bool:
    """Return if a process was started from other files than those that are written now.

    started_from: as recorded at its start; None if that start was not recorded. written: of the units that count.
    """
    if started_from is None:
        return True
    return any(_differ(started_from.get(unit, {}), files) for unit, files in written.items())


def _differ(started_from: Mapping[str, str], written: Mapping[str, str]) -> bool:
    gone = any(is_drop_in(path) for path in started_from if path not in written)
    return gone or any(started_from.get(path) != version for path, version in written.items())
