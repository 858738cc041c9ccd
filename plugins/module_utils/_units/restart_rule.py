# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rule by which the restart of a running process is due. Pure."""

from __future__ import annotations

import math
from collections.abc import Container, Iterable, Mapping

THIS_RUN = math.inf
"""Modification time of a file that this run is about to write."""


def is_restart_due(
    started: float | None, sources: Mapping[str, Iterable[float]], reloadable: Container[str] = ()
) -> bool:
    """Return if something that a process was started from has changed since.

    started: time of the start; None if it is not known. sources: by unit, the modification times of its file and its
    credentials. reloadable: units that take a change while the process runs.
    """
    return any(
        time == THIS_RUN or (started is not None and time > started)
        for unit, times in sources.items()
        if unit not in reloadable
        for time in times
    )
