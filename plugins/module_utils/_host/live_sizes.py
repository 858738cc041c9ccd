# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Gives a running QEMU more or less memory and more CPUs, over its monitor (QEMU, docs/interop/qemu-qmp-ref).

QEMU itself tells what there is, so an interrupted change is continued by the next run.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._clients.qmp import Monitor
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.pci import MEMORY_DEVICE
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError
from ansible_collections.directdisk.qemu.plugins.module_utils._host.live_disks import UNPLUG_SECONDS
from ansible_collections.directdisk.qemu.plugins.module_utils._options.read import in_words
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.live_state import ObservedSizes
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.sizes import MEMORY, Sizes
from ansible_collections.directdisk.qemu.plugins.module_utils._units.node_names import vm_node

_DEVICE = f"/machine/peripheral/{MEMORY_DEVICE}"
_PAUSE = 0.1


def observe(monitor: Monitor, started: Sizes) -> ObservedSizes:
    """Return what a VM has of the memory and CPUs that can be plugged; QEMU is asked only if some can."""
    pluggable = started.memory < started.memory_max
    return {
        "cpus": len(_present(_slots(monitor))) if started.cpus_max else 0,
        "memory": _memory(monitor, "size") if pluggable else 0,
        "requested": _memory(monitor, "requested-size") if pluggable else 0,
    }


def change(monitor: Monitor, size: str, started: Sizes, planned: Sizes, *, seconds: float = UNPLUG_SECONDS) -> None:
    """Give a VM its memory or more CPUs; raise HostError if the guest does not take or return memory in time."""
    if size == MEMORY:
        _set_memory(monitor, planned.memory - started.memory, seconds)
    else:
        _plug_cpus(monitor, planned.cpus)


def _set_memory(monitor: Monitor, size: int, seconds: float) -> None:
    monitor.execute("qom-set", {"path": _DEVICE, "property": "requested-size", "value": size})
    deadline = time.monotonic() + seconds
    monitor.allow(2 * seconds)
    while (now := _memory(monitor, "size")) != size and time.monotonic() < deadline:
        time.sleep(_PAUSE)
    if now != size:
        words, wanted = in_words(now, size), in_words(size, now)
        raise HostError(
            f"of the memory that can be plugged the guest has {words} after {seconds:g} s, and is to have {wanted}, as "
            "a system without the driver virtio_mem, or one that uses the memory; run this again, or restart the VM"
        )


def _plug_cpus(monitor: Monitor, number: int) -> None:
    slots = _slots(monitor)
    free = [(index, slot) for index, slot in enumerate(slots) if "qom-path" not in slot]
    for index, slot in free[: max(number - len(_present(slots)), 0)]:
        identifier = vm_node(f"cpu{index}")
        monitor.execute("device_add", {"driver": slot["type"], "id": identifier, **slot["props"]})


def _slots(monitor: Monitor) -> list[dict[str, Any]]:
    """Return the places for CPUs, the boot CPU first. QEMU lists it last."""
    return list(reversed(monitor.execute("query-hotpluggable-cpus")))


def _present(slots: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return [slot for slot in slots if "qom-path" in slot]


def _memory(monitor: Monitor, name: str) -> int:
    return int(monitor.execute("qom-get", {"path": _DEVICE, "property": name}))
