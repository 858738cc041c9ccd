# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Machines whose storage somebody has open, as the controller refuses them."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DirectDiskError
from ansible_collections.directdisk.qemu.plugins.plugin_utils._in_use import refuse_storage_in_use
from ansible_collections.directdisk.qemu.tests.unit.support import machine

VM: dict[str, Any] = {
    "disks": {"root": {"nbd": {"host": "192.0.2.5"}}, "data": {"nbd": {"host": "192.0.2.6"}}},
}
ROOT, DATA = "nbd:192.0.2.5:10809/", "nbd:192.0.2.6:10809/"
OBSERVED = {"in_use": {ROOT: "is open by A; stop it", DATA: "is open by B; stop it"}}


def test_every_disk_that_is_open_is_named() -> None:
    with pytest.raises(DirectDiskError) as refused:
        refuse_storage_in_use([machine(VM)], OBSERVED)
    assert str(refused.value).splitlines() == [
        "disk root of web1: nbd 192.0.2.5:10809/: is open by A; stop it",
        "disk data of web1: nbd 192.0.2.6:10809/: is open by B; stop it",
    ]


def test_storage_that_another_host_gives_up_in_this_run_is_exempt() -> None:
    with pytest.raises(DirectDiskError) as refused:
        refuse_storage_in_use([machine(VM)], OBSERVED, exempt={ROOT})
    assert str(refused.value) == "disk data of web1: nbd 192.0.2.6:10809/: is open by B; stop it"
    refuse_storage_in_use([machine(VM)], OBSERVED, exempt={ROOT, DATA})


def test_a_machine_that_is_not_to_run_opens_nothing() -> None:
    refuse_storage_in_use([machine({**VM, "state": "stopped"})], OBSERVED)
    read_only = {name: {**disk, "writes": "deny"} for name, disk in VM["disks"].items()}
    refuse_storage_in_use([machine({"disks": read_only})], OBSERVED)
