# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""VMs whose images must be fetched first: a slow server must not delay the run or other VMs."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable

from ansible_collections.directdisk.qemu.plugins.module_utils._host import systemd
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.host_state import DesiredHost
from ansible_collections.directdisk.qemu.plugins.module_utils._units import paths

_FETCHING = ("activating", "reloading")
_INTERVAL = 0.2


def await_images(desired: DesiredHost, names: Iterable[str], then: str) -> dict[str, list[str]]:
    """Fetch the images of VMs; return messages by VM for which that takes longer than its start_timeout.

    then: what happens or is to be done once the image is there.
    """
    missing = {name: _missing(desired["vms"][name]["staged"]) for name in names if name}
    missing = {name: units for name, units in missing.items() if units}
    if not missing:
        return {}
    systemd.systemctl("start", sorted({unit for units in missing.values() for unit in units}), "--no-block")
    began = time.monotonic()
    late: dict[str, list[str]] = {}
    while missing:
        states = systemd.show(sorted({unit for units in missing.values() for unit in units}))
        waited = time.monotonic() - began
        for name, units in list(missing.items()):
            fetching = [unit for unit in units if unit in states and states[unit]["active"] in _FETCHING]
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


def _missing(units: Iterable[str]) -> list[str]:
    return [unit for unit in units if not os.path.exists(paths.image_file(paths.image_of_unit(unit)))]
