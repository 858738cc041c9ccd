# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Applies the live changes of a run: first what VMs give back, and once their units are written what they get."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable

from ansible_collections.directdisk.qemu.plugins.module_utils._clients.qmp import Monitor
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DirectDiskError
from ansible_collections.directdisk.qemu.plugins.module_utils._host import live_disks, live_record, systemd
from ansible_collections.directdisk.qemu.plugins.module_utils._host.credential_store import Secrets
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.changes import Changes
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.host_state import (
    DesiredHost,
    LiveDisk,
    ObservedHost,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.live import running_now
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.running_parts import Part
from ansible_collections.directdisk.qemu.plugins.module_utils._units import paths
from ansible_collections.directdisk.qemu.plugins.module_utils._units.unit_text import addresses_in

_CONTROL = "/run/systemd/system.control"
"""systemctl set-property --runtime writes drop-ins there."""

Failures = dict[str, list[str]]
"""Lines about VMs whose disks were not changed, by VM."""


def detach(desired: DesiredHost, observed: ObservedHost, changes: Changes) -> Failures:
    """Detach disks that are not declared any more. A disk that a guest keeps stays in its unit."""
    failures: Failures = {}
    for vm, name in changes.detach:
        unit = desired["vms"][vm]["unit"]
        part = running_now(observed["processes"][vm]).disks[name]

        def give_back(monitor: Monitor, name: str = name, part: Part = part, unit: str = unit) -> None:
            live_disks.detach(monitor, name, part)
            live_record.remember(unit, observed["units"], name, None)

        _try(vm, name, give_back, failures)
    return failures


def attach(desired: DesiredHost, observed: ObservedHost, changes: Changes, secrets: Secrets) -> Failures:
    """Attach new disks."""
    failures: Failures = {}
    _let_through(desired, changes)
    for vm, name in changes.attach:
        unit, disk = desired["vms"][vm]["unit"], desired["vms"][vm]["disks"][name]

        def plug(monitor: Monitor, name: str = name, disk: LiveDisk = disk, unit: str = unit) -> None:
            live_record.remember(unit, observed["units"], name, disk)
            live_disks.attach(monitor, name, disk, secrets)

        _try(vm, name, plug, failures)
    return failures


def _try(vm: str, name: str, work: Callable[[Monitor], None], failures: Failures) -> None:
    try:
        with Monitor.connect(paths.qmp_socket(vm), seconds=60) as monitor:
            work(monitor)
    except DirectDiskError as error:
        failures.setdefault(vm, []).append(f"disk {name} of {vm}: {error}")


def _let_through(desired: DesiredHost, changes: Changes) -> None:
    """Apply the units' filters of addresses to running VMs: systemd 257 does not do so when it reloads."""
    units = list(dict.fromkeys(desired["vms"][vm]["unit"] for vm, _disk in (*changes.detach, *changes.attach)))
    for unit in units:
        addresses = addresses_in(desired["files"][f"{paths.UNIT_DIRECTORY}/{unit}"]["text"])
        if addresses:
            systemd.set_property(unit, "IPAddressAllow=", *(f"IPAddressAllow={address}" for address in addresses))
    for unit in units:  # The unit itself has these settings now.
        shutil.rmtree(os.path.join(_CONTROL, f"{unit}.d"), ignore_errors=True)
    if units:
        systemd.systemctl("daemon-reload")
