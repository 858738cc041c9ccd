# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Memory and CPUs of a running QEMU, with a real one. No guest is there to take or return them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._clients.qmp import Monitor
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError
from ansible_collections.directdisk.qemu.plugins.module_utils._host import live_sizes
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.sizes import (
    CPUS,
    MEMORY,
    Sizes,
    memory_device,
    size_arguments,
    sizes_of,
)
from ansible_collections.directdisk.qemu.tests.unit.real_vm import needs_emulator, running_vm

MIB = 1024**2
DECLARED: dict[str, Any] = {"memory": 128 * MIB, "memory_max": 512 * MIB, "cpus": 2, "cpus_max": 4, "cpu_threads": 4}
ARGV = [word for group in (*size_arguments(DECLARED), *memory_device(DECLARED, "addr=0x1e")) for word in group]
STARTED = sizes_of(ARGV)


@pytest.fixture
def monitor(tmp_path: Path) -> Iterator[Monitor]:
    """The monitor of a VM that is not started."""
    with running_vm(tmp_path / "qmp", "-S", *ARGV) as connected:
        yield connected


@needs_emulator
def test_memory_and_cpus_are_what_qemu_tells(monitor: Monitor) -> None:
    assert live_sizes.observe(monitor, STARTED) == {"cpus": 2, "memory": 0, "requested": 0}
    live_sizes.change(monitor, CPUS, STARTED, Sizes(cpus=4))
    with pytest.raises(HostError, match=r"^of the memory .* guest has 0 MiB after 0.2 s, and is to have 128 MiB, as a"):
        live_sizes.change(monitor, MEMORY, STARTED, Sizes(memory=256 * MIB), seconds=0.2)
    assert live_sizes.observe(monitor, STARTED) == {"cpus": 4, "memory": 0, "requested": 128 * MIB}
    # A run that was interrupted left one.
    live_sizes.change(monitor, CPUS, STARTED, Sizes(cpus=4))
    assert live_sizes.observe(monitor, STARTED)["cpus"] == 4


def test_a_vm_without_maxima_is_not_asked() -> None:
    nobody: Any = None
    assert live_sizes.observe(nobody, Sizes(memory=MIB, cpus=2)) == {"cpus": 0, "memory": 0, "requested": 0}
    assert live_sizes.observe(nobody, Sizes(memory=MIB, memory_max=MIB, cpus=2))["memory"] == 0
