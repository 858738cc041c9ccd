# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""VMs whose images must be fetched first: a slow server must not delay the run or other VMs."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType

from ansible_collections.directdisk.qemu.plugins.module_utils._host import systemd
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.host_state import DesiredHost
from ansible_collections.directdisk.qemu.plugins.module_utils._process.progress import ProgressBoard, Step
from ansible_collections.directdisk.qemu.plugins.module_utils._programs import image_fetch
from ansible_collections.directdisk.qemu.plugins.module_utils._units import paths

_FETCHING = ("activating", "reloading")
_INTERVAL = 0.2


def await_images(
    desired: DesiredHost, names: Iterable[str], then: str, board: ProgressBoard | None = None
) -> dict[str, list[str]]:
    """Fetch the images of VMs; return messages by VM for which that takes longer than its start_timeout.

    then: what happens or is to be done once the image is there; board: of the run, which lists the downloads.
    """
    missing = {name: _missing(desired["vms"][name]["staged"]) for name in names if name}
    missing = {name: units for name, units in missing.items() if units}
    if not missing:
        return {}
    systemd.systemctl("start", sorted({unit for units in missing.values() for unit in units}), "--no-block")
    began = time.monotonic()
    late: dict[str, list[str]] = {}
    with _Downloads(board or ProgressBoard(), _disks_of(desired, missing)) as downloads:
        while missing:
            sizes = _fetching(sorted({unit for units in missing.values() for unit in units}))
            downloads.update(sizes)
            waited = time.monotonic() - began
            for name, units in list(missing.items()):
                fetching = [unit for unit in units if unit in sizes]
                limit = desired["vms"][name]["start_timeout"]
                if not fetching:
                    del missing[name]
                elif waited > limit:
                    del missing[name]
                    late[name] = [
                        f"{unit} has not fetched its image within start_timeout ({limit} s) and continues; {then}"
                        for unit in fetching
                    ]
            time.sleep(_INTERVAL if missing else 0)
    return late


def _fetching(units: list[str]) -> dict[str, int | None]:
    """Return those of the units that fetch, each with the size of its image, if it is known."""
    states = systemd.properties(units, ("ActiveState", "StatusText"))
    told = {unit: image_fetch.SIZE.fullmatch(state.get("StatusText", "")) for unit, state in states.items()}
    return {
        unit: int(size[1]) if (size := told[unit]) else None
        for unit, state in states.items()
        if state["ActiveState"] in _FETCHING
    }


def _disks_of(desired: DesiredHost, missing: Mapping[str, Iterable[str]]) -> dict[str, str]:
    """Return the first disk that waits for an image, by the unit that fetches it."""
    disks: dict[str, str] = {}
    for name, units in missing.items():
        for disk, live in desired["vms"][name]["disks"].items():
            for unit in set(units).intersection(live["helpers"]):
                disks.setdefault(unit, f"{disk} of {name}")
    return disks


class _Downloads:
    """The downloads on a board, each while it goes on."""

    def __init__(self, board: ProgressBoard, disks: Mapping[str, str]) -> None:
        """disks: names by unit."""
        self._board = board
        self._disks = disks
        self._rows: dict[str, contextlib.ExitStack] = {}
        self._steps: dict[str, Step] = {}

    def __enter__(self) -> _Downloads:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.update({})

    def update(self, sizes: Mapping[str, int | None]) -> None:
        """List these downloads and no others; sizes: of their images, by unit."""
        for unit in [unit for unit in self._rows if unit not in sizes]:
            self._rows.pop(unit).close()
        for unit, size in sizes.items():
            if unit not in self._rows:
                self._rows[unit] = stack = contextlib.ExitStack()
                self._steps[unit] = stack.enter_context(self._listed(unit))
            self._steps[unit].total = size

    @contextlib.contextmanager
    def _listed(self, unit: str) -> Iterator[Step]:
        part = f"{paths.image_file(paths.image_of_unit(unit))}.part"
        with (
            self._board.disk(self._disks.get(unit, unit), 0) as disk,
            disk.step("download", done=lambda: os.stat(part).st_size) as step,
        ):
            yield step


def _missing(units: Iterable[str]) -> list[str]:
    return [unit for unit in units if not os.path.exists(paths.image_file(paths.image_of_unit(unit)))]
