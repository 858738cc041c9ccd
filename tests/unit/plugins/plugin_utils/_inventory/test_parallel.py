# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Work by several processes: everything is done once, in order, and a failure is said."""

from __future__ import annotations

import os
from collections.abc import Sequence

import pytest

from ansible_collections.directdisk.qemu.plugins.plugin_utils._inventory import parallel
from ansible_collections.directdisk.qemu.plugins.plugin_utils._inventory.declared import (
    read_fleet,
    read_fleet_in_parallel,
)
from ansible_collections.directdisk.qemu.tests.unit.support import NBD, disk_of


@pytest.mark.parametrize("cores", [None, 1, 2, 3, 64])
@pytest.mark.parametrize("count", [0, 1, 119, 120, 500, 1201])
def test_each_item_is_worked_on_once_and_in_order(
    count: int, cores: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    parts = list(parallel.map_parts(lambda part: [-item for item in part], range(count)))
    assert [item for part in parts for item in part] == [-item for item in range(count)]


def test_many_items_are_for_other_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    assert os.getpid() not in set(parallel.map_parts(lambda part: os.getpid(), range(500)))


def test_a_failure_is_raised_here(monkeypatch: pytest.MonkeyPatch) -> None:
    def work(part: Sequence[int]) -> int:
        if 300 in part:
            raise ValueError("not this one")
        return len(part)

    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    with pytest.raises(ValueError, match="not this one"):
        list(parallel.map_parts(work, range(500)))


def test_a_large_fleet_is_read_as_a_small_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    hosts = {f"hv{number}": {"qemu_vms": {"a": disk_of(NBD), "b": {"cpus": 0}}} for number in range(300)}
    whole, joined = read_fleet(hosts), read_fleet_in_parallel(hosts, list(hosts))
    assert joined.rows() == whole.rows()
    assert joined.hosts == whole.hosts
    assert [str(error) for error in joined.errors] == [str(error) for error in whole.errors]
    assert len(joined.errors) == 300
