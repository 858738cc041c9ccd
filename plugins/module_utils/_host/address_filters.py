# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filters of addresses of running VMs, when their units are replaced (IPAddressAllow= and IPAddressDeny=).

systemd 252 applies the settings of a new unit to the running process when it reloads, systemd 257 does not (measured).
Neither is right for every VM: one that runs on with its former disks still needs their servers, and one that has been
given a disk needs the new ones at once.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterable, Mapping

from ansible_collections.directdisk.qemu.plugins.module_utils._host import systemd
from ansible_collections.directdisk.qemu.plugins.module_utils._units.unit_text import addresses_in, filters_addresses

_CONTROL = "/run/systemd/system.control"
"""systemctl set-property --runtime writes drop-ins there."""
_ALLOW, _DENY = "IPAddressAllow", "IPAddressDeny"

Filters = Mapping[str, Mapping[str, str]]
"""The settings of running units, by unit and name, as systemd shows them."""


def filters_now(units: Collection[str]) -> Filters:
    """Return the filters of running units, before their files are replaced."""
    return systemd.properties(units, (_ALLOW, _DENY))


def apply(texts: Mapping[str, str], before: Filters, keep: Collection[str]) -> None:
    """Set the filters of running units once systemd has reloaded.

    texts: of the units, by name; keep: units whose processes still need what they were allowed before.
    """
    for unit, text in texts.items():
        if filters_addresses(text):
            systemd.set_property(unit, *_settings(addresses_in(text), before.get(unit, {}), keeps=unit in keep))
        elif before.get(unit, {}).get(_DENY):
            # In this order: systemd 252 takes other drop-ins than it would find for a unit that must be loaded again.
            systemd.set_property(unit, f"{_ALLOW}=", f"{_DENY}=")
    # The other units have these settings themselves.
    if remove([unit for unit in texts if unit not in keep]):
        systemd.systemctl("daemon-reload")


def _settings(addresses: Iterable[str], before: Mapping[str, str], *, keeps: bool) -> list[str]:
    if keeps and not before.get(_DENY):
        return [f"{_DENY}="]
    former = before.get(_ALLOW, "").split() if keeps else []
    return [f"{_ALLOW}=", *(f"{_ALLOW}={address}" for address in dict.fromkeys((*former, *addresses)))]


def remove(units: Iterable[str]) -> bool:
    """Remove what apply() has added to units; return if there was anything, so that systemd must reload."""
    folders = [path for path in (f"{_CONTROL}/{unit}.d" for unit in units) if os.path.isdir(path)]
    for path in folders:
        shutil.rmtree(path, ignore_errors=True)
    return bool(folders)
