# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Gives a running QEMU memory and CPUs, and takes them away, over its monitor (QEMU, docs/interop/qemu-qmp-ref).

QEMU itself tells what there is, so an interrupted change is continued by the next run.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._clients.qmp import Monitor
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.pci import MEMORY_DEVICE
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError, QmpError
from ansible_collections.directdisk.qemu.plugins.module_utils._host.live_disks import UNPLUG_SECONDS
from ansible_collections.directdisk.qemu.plugins.module_utils._options.read import in_words
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.live_state import ObservedSizes
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.sizes import MEMORY, Sizes
from ansible_collections.directdisk.qemu.plugins.module_utils._units.node_names import vm_node

_PERIPHERAL = "/machine/peripheral/"
_DEVICE = f"{_PERIPHERAL}{MEMORY_DEVICE}"
_PAUSE = 0.1
_UNPLUGGING = "already in the process of unplug"


def observe(monitor: Monitor, started: Sizes) -> ObservedSizes:
    """Return what a VM has of the memory and CPUs that can be plugged; QEMU is asked only if some can."""
    pluggable = started.memory < started.memory_max
    return {
        "cpus": len(_present(monitor)) if started.cpus_max else 0,
        "memory": _memory(monitor, "size") if pluggable else 0,
        "requested": _memory(monitor, "requested-size") if pluggable else 0,
    }


def change(monitor: Monitor, size: str, started: Sizes, planned: Sizes, *, seconds: float = UNPLUG_SECONDS) -> None:
    """Give a VM its memory or CPUs; raise HostError if the guest does not take or return them in time."""
    if size == MEMORY:
        _set_memory(monitor, planned.memory - started.memory, seconds)
    else:
        _set_cpus(monitor, planned.cpus, seconds)


def _set_memory(monitor: Monitor, size: int, seconds: float) -> None:
    monitor.execute("qom-set", {"path": _DEVICE, "property": "requested-size", "value": size})
    now = _wait(monitor, lambda: _memory(monitor, "size"), size, seconds)
    if now != size:
        words, wanted = in_words(now, size), in_words(size, now)
        raise HostError(
            f"of the memory that can be plugged the guest has {words} after {seconds:g} s, and is to have {wanted}, as "
            "a system without the driver virtio_mem, or one that uses the memory; run this again, or restart the VM"
        )


def _set_cpus(monitor: Monitor, number: int, seconds: float) -> None:
    slots = _slots(monitor)
    present = _present(monitor)
    free = [(index, slot) for index, slot in enumerate(slots) if "qom-path" not in slot]
    for index, slot in free[: max(number - len(present), 0)]:
        identifier = vm_node(f"cpu{index}")
        monitor.execute("device_add", {"driver": slot["type"], "id": identifier, **slot["props"]})
    for slot in reversed(present[number:]):
        _unplug(monitor, str(slot["qom-path"]))
    now = _wait(monitor, lambda: len(_present(monitor)), number, seconds)
    if now != number:
        raise HostError(
            f"the guest has {now} CPUs after {seconds:g} s, and is to have {number}, as a system that does not give "
            "them back; run this again, or restart the VM"
        )


def _unplug(monitor: Monitor, path: str) -> None:
    """Ask the guest to give a CPU back; those of its start have no id, but a path."""
    identifier = path[len(_PERIPHERAL) :] if path.startswith(_PERIPHERAL) else path
    reply = monitor.try_execute("device_del", {"id": identifier})
    error = reply.get("error")
    message = str(error.get("desc")) if isinstance(error, dict) else ""
    if error is not None and _UNPLUGGING not in message:
        raise QmpError(f"device_del: {message}")


def _slots(monitor: Monitor) -> list[dict[str, Any]]:
    """Return the places for CPUs, the boot CPU first. QEMU lists it last."""
    return list(reversed(monitor.execute("query-hotpluggable-cpus")))


def _present(monitor: Monitor) -> list[dict[str, Any]]:
    return [slot for slot in _slots(monitor) if "qom-path" in slot]


def _memory(monitor: Monitor, name: str) -> int:
    return int(monitor.execute("qom-get", {"path": _DEVICE, "property": name}))


def _wait(monitor: Monitor, observed: Callable[[], int], wanted: int, seconds: float) -> int:
    """Return a number once it is as wanted, or as it is after some seconds."""
    deadline = time.monotonic() + seconds
    monitor.allow(2 * seconds)
    while (now := observed()) != wanted and time.monotonic() < deadline:
        time.sleep(_PAUSE)
    return now
