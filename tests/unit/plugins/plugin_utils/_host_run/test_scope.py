# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts of a host's VMs and disks are told by their names: a host may have thousands."""

from __future__ import annotations

from typing import NoReturn

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.read_vm import read_vms
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.vm import Vm
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.vm_disks import ManagedDisk
from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run.managed_disks import DiskResults
from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run.recreation import Recreation
from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run.run_options import read_run_options
from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run.scope import scope_of


@pytest.fixture(autouse=True)
def _no_comparisons(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse to compare whole declarations, as ``in`` does with each entry of a list."""

    def refuse(*_others: object) -> NoReturn:
        raise AssertionError("declarations are compared one by one")

    monkeypatch.setattr(Vm, "__eq__", refuse)
    monkeypatch.setattr(ManagedDisk, "__eq__", refuse)


def test_the_vms_of_a_run_and_those_that_it_leaves() -> None:
    vms = read_vms({name: {"memory": "1GiB", "disks": {}} for name in ("a1", "a2", "b1")}, "hv1")
    whole = scope_of(vms, read_run_options({}))
    assert ([vm.name for vm in whole.chosen], whole.left_out) == (["a1", "a2", "b1"], [])
    part = scope_of(vms, read_run_options({"only_vms": "a*"}))
    assert ([vm.name for vm in part.chosen], part.left_out) == (["a1", "a2"], ["b1"])


def test_the_disks_that_are_made_again_and_the_others() -> None:
    disks = [ManagedDisk(vm, "root", {"nbd": {"host": vm}}) for vm in ("a1", "a2", "b1")]
    results = DiskResults([(disk, {}) for disk in disks], [{"before_header": f"disk {disk.name}"} for disk in disks])
    kept = results.of(Recreation(disks[:1]).others(disks))
    assert [disk.name for disk, _result in kept.results] == ["root of a2", "root of b1"]
    assert [shown["before_header"] for shown in kept.diff] == ["disk root of a2", "disk root of b1"]
