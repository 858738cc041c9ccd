# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Starts of VMs whose images have to be fetched first: a slow server must not hold up a run, nor the other VMs."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._host import systemd
from ansible_collections.directdisk.qemu.plugins.module_utils._units import paths

_FETCHING = ("activating", "reloading")
_INTERVAL = 0.2


def await_images(desired: Mapping[str, Any], names: Iterable[str]) -> dict[str, list[str]]:
    """Have the images of VMs fetched; returns why a VM's start has to wait for longer than its start_timeout."""
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
            fetching = [unit for unit in units if states.get(unit, {}).get("active") in _FETCHING]
            limit = desired["vms"][name]["start_timeout"]
            if not fetching:
                del missing[name]
            elif waited > limit:
                del missing[name]
                late[name] = [
                    f"{unit} has not fetched its image within start_timeout ({limit} s) and goes on; "
                    "the VM starts by itself once it is there"
                    for unit in fetching
                ]
        time.sleep(_INTERVAL if missing else 0)
    return late


def _missing(units: Iterable[str]) -> list[str]:
    return [unit for unit in units if not os.path.exists(paths.image_file(paths.image_of_unit(unit)))]
