# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Memory and CPUs: on the command line, and how they change while a VM runs."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._plan.live_state import ObservedSizes
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.running_parts import parts_of, words_of
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.sizes import SizeChanges, Sizes, size_changes
from ansible_collections.directdisk.qemu.tests.unit.support import plan

MIB = 1024**2
GROWS: dict[str, Any] = {"memory": "256MiB", "memory_max": "1GiB", "cpus": 2, "cpus_max": 4}
LARGEST: dict[str, Any] = {**GROWS, "memory": "1GiB"}


def sizes(**declared: Any) -> Sizes:
    return parts_of(words_of(plan(declared).services[-1].args)).sizes


def now(cpus: int = 2, memory: int = 0, requested: int = -1) -> ObservedSizes:
    return {"cpus": cpus, "memory": memory * MIB, "requested": (memory if requested < 0 else requested) * MIB}


NONE = now(0)
FEWER = "cpus are fewer than the {} that the VM has: a guest may hang if one is removed"


@pytest.mark.parametrize(
    ("before", "after", "observed", "change", "restart"),
    [
        (GROWS, GROWS, now(), (), ()),
        (GROWS, {**GROWS, "memory": "512MiB"}, now(), ("memory",), ()),
        (GROWS, {**GROWS, "memory": "512MiB"}, now(memory=256), (), ()),
        (GROWS, GROWS, now(memory=256), ("memory",), ()),
        # The guest has not taken it yet, or not given it back.
        (GROWS, {**GROWS, "memory": "512MiB"}, now(memory=0, requested=256), ("memory",), ()),
        (GROWS, GROWS, now(memory=128, requested=0), ("memory",), ()),
        (GROWS, LARGEST, now(), ("memory",), ()),
        (GROWS, LARGEST, now(memory=768), (), ()),
        (LARGEST, LARGEST, now(), (), ()),
        (LARGEST, GROWS, now(), (), ("memory is less than the 1 GiB with which the VM was started",)),
        (GROWS, {**GROWS, "memory_max": "2GiB"}, now(), (), ("memory_max has changed",)),
        (GROWS, {**GROWS, "cpus": 4}, now(), ("cpus",), ()),
        (GROWS, {**GROWS, "cpus": 4}, now(cpus=3), ("cpus",), ()),
        (GROWS, {**GROWS, "cpus": 1}, now(), (), (FEWER.format(2),)),
        (GROWS, GROWS, now(cpus=3), (), (FEWER.format(3),)),
        (GROWS, {**GROWS, "cpus_max": 8, "cpus": 8}, now(), (), ("cpus_max has changed",)),
        (
            GROWS,
            {**GROWS, "cpus": 4, "cpu_cores": 4},
            now(),
            (),
            ("cpu_sockets, cpu_cores or cpu_threads have changed",),
        ),
        ({"cpus": 2}, {"cpus": 2}, NONE, (), ()),
        ({"cpus": 2}, {"cpus": 3}, NONE, (), ("cpus has changed",)),
        ({"cpus": 2}, {"cpus": 2, "cpus_max": 4}, NONE, (), ("cpus_max has changed",)),
        ({"memory": "1GiB"}, {"memory": "2GiB"}, NONE, (), ("memory has changed",)),
        ({"memory": "1GiB"}, {"memory": "1GiB", "memory_max": "2GiB"}, NONE, (), ("memory_max has changed",)),
        ({"memory": "2GiB", "memory_max": "2GiB"}, {"memory": "2GiB"}, NONE, (), ("memory_max has changed",)),
    ],
)
def test_what_changes_while_a_vm_runs(
    before: dict[str, Any],
    after: dict[str, Any],
    observed: ObservedSizes,
    change: tuple[str, ...],
    restart: tuple[str, ...],
) -> None:
    assert size_changes(sizes(**before), sizes(**after), observed) == SizeChanges(change, restart)


def test_the_sizes_of_a_unit_are_no_part_of_the_rest() -> None:
    """A change of the rest requires a restart; -smp and -m in extra_args belong to it."""
    extra = ["-smp", "maxcpus=4", "-m", "size=3B"]
    few, many = (
        parts_of(words_of(plan({**given, "extra_args": extra, "console": False}).services[-1].args))
        for given in ({"cpus": 1, "memory": "1GiB"}, {"cpus": 2, "memory": "2GiB"})
    )
    assert few.rest == many.rest
    assert {("-smp", "maxcpus=4"), ("-m", "size=3B")} <= set(few.rest)
    grows = parts_of(words_of(plan(GROWS).services[-1].args))
    assert grows.rest == parts_of(words_of(plan(LARGEST).services[-1].args)).rest
    assert grows.sizes == Sizes(256 * MIB, 1024 * MIB, 2, 4)
