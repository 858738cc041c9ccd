# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The memory and CPUs of VMs, compared with those of their host."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.read_vm import read_vms
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.vm import Vm
from ansible_collections.directdisk.qemu.plugins.module_utils._host.host_size import host_size
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.host_size import HostSize, overcommitted, too_large

GIB = 1024**3
SIZE: HostSize = {"memory": 4 * GIB, "swap": GIB, "cpus": 4}


def vms(**memory: Any) -> tuple[Vm, ...]:
    return read_vms({name: {"memory": size} for name, size in memory.items()})


def test_a_vm_that_is_larger_than_memory_and_swap_is_refused() -> None:
    assert not list(too_large(vms(a="5GiB"), SIZE))
    assert [str(error) for error in too_large(vms(a="6GiB", b="1GiB"), SIZE)] == [
        "vm a: memory: 6.0 GiB is more than the host has (4.0 GiB and 1.0 GiB of swap); declare less, or declare it "
        "on another host"
    ]


def test_memory_above_that_of_the_host_is_warned_of_with_all_figures() -> None:
    assert not list(overcommitted(vms(a="3GiB", b="1GiB"), SIZE))
    (warning,) = overcommitted(vms(a="1GiB", b="3584MiB"), SIZE)
    assert warning.startswith("its VMs are declared with 4.5 GiB of memory together (b 3.5 GiB, a 1.0 GiB), and it has")
    (many,) = overcommitted(vms(**{f"vm{number}": "1GiB" for number in range(11)}), SIZE)
    assert "vm7 1.0 GiB, 3 more)" in many


def test_cpus_may_be_overcommitted_but_not_by_one_vm() -> None:
    some = read_vms({f"vm{number}": {"cpus": 4} for number in range(3)})
    assert not list(overcommitted(some, SIZE))
    (warning,) = overcommitted(read_vms({"a": {"cpus": 5}}), SIZE)
    assert warning.startswith("vm a: cpus: 5 are more than the host has (4)")


def test_what_a_vm_may_grow_to_counts() -> None:
    grows = read_vms({"a": {"memory": "1GiB", "memory_max": "6GiB", "cpus_max": 5}})
    assert [str(error).partition(";")[0] for error in too_large(grows, SIZE)] == [
        "vm a: memory_max: 6.0 GiB is more than the host has (4.0 GiB and 1.0 GiB of swap)"
    ]
    (warning,) = overcommitted(grows, SIZE)
    assert warning.startswith("vm a: cpus_max: 5 are more than the host has (4)")


def test_vms_that_are_declared_stopped_do_not_count() -> None:
    stopped = read_vms({"a": {"memory": "9GiB", "cpus": 99, "state": "stopped"}})
    assert not list(overcommitted(stopped, SIZE))


def test_the_kernel_reports_memory_swap_and_cpus(tmp_path: Path) -> None:
    size = host_size()
    assert size["memory"] > 2**28 and size["cpus"] >= 1 and size["swap"] >= 0
    (tmp_path / "meminfo").write_text("MemTotal:        1024 kB\nHugePages_Total:       0\n", encoding="ascii")
    assert host_size(str(tmp_path / "meminfo"))["memory"] == 2**20
