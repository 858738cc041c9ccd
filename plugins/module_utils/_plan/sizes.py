# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The memory and CPUs of a VM: on its command line, and how they change while it runs. Pure.

Memory comes from a virtio-mem device, which gives the guest more or less of the memory behind it. Its state is two
numbers, so nothing has to be recorded, and an interrupted change has no parts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ansible_collections.directdisk.qemu.plugins.module_utils._backends.values import Values
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.pci import MEMORY_DEVICE
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.vm_settings import cpu_topology
from ansible_collections.directdisk.qemu.plugins.module_utils._options.read import in_words
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.live_state import ObservedSizes
from ansible_collections.directdisk.qemu.plugins.module_utils._units.node_names import vm_node
from ansible_collections.directdisk.qemu.plugins.module_utils._units.service import Args

CPUS, MEMORY = "cpus", "memory"
_BACKEND = vm_node("memory")
_BLOCK = 2 * 1024**2
"""Granularity of the device: a huge page of x86. Without it QEMU's choice depends on the host's kernel."""
_SMP = re.compile(r"(\d+)|cpus=(\d+)(?:,maxcpus=(\d+))?(.*)")
_M = re.compile(r"size=(\d+)B(?:,maxmem=(\d+)B)?")


@dataclass(frozen=True)
class Sizes:
    """The memory and CPUs on a command line of the collection; a maximum is 0 if there is none."""

    memory: int = 0
    memory_max: int = 0
    cpus: int = 0
    cpus_max: int = 0
    topology: str = ""


@dataclass(frozen=True)
class SizeChanges:
    """The sizes that change while a VM runs, and the reasons for a restart."""

    change: tuple[str, ...] = ()
    """CPUS and MEMORY."""
    restart: tuple[str, ...] = ()


def size_arguments(settings: Values) -> Args:
    """Return the arguments of QEMU for memory and CPUs."""
    topology = "".join(f",{name}={number}" for name, number in cpu_topology(settings).items())
    most = f",maxcpus={settings['cpus_max']}" if "cpus_max" in settings else ""
    cpus = f"cpus={settings['cpus']}{most}{topology}" if most or topology else str(settings["cpus"])
    most = f",maxmem={settings['memory_max']}B" if "memory_max" in settings else ""
    return [("-smp", cpus), ("-m", f"size={settings['memory']}B{most}")]


def memory_device(settings: Values, place: str) -> Args:
    """Return the arguments of the device that can give the guest more memory; place: its PCI place."""
    pluggable = settings.get("memory_max", 0) - settings["memory"]
    if pluggable <= 0:
        return []
    return [
        ("-object", f"memory-backend-ram,id={_BACKEND},size={pluggable}B"),
        ("-device", f"virtio-mem-pci,{place},id={MEMORY_DEVICE},memdev={_BACKEND},block-size={_BLOCK}B"),
    ]


def is_size(group: tuple[str, ...]) -> bool:
    """Return if an option with its value is one of those above."""
    option, value = group[0], group[-1]
    return (
        (option == "-smp" and bool(_SMP.fullmatch(value)))
        or (option == "-m" and bool(_M.fullmatch(value)))
        or (option == "-object" and value.startswith(f"memory-backend-ram,id={_BACKEND},"))
        or (option == "-device" and f",id={MEMORY_DEVICE}," in value)
    )


def sizes_of(argv: Sequence[str]) -> Sizes:
    """Return the memory and CPUs on a command line: of the first arguments, which are those of the unit itself."""
    values = {option: value for option, value in reversed([*zip(argv, argv[1:])]) if option in ("-smp", "-m")}
    smp, memory = _SMP.fullmatch(values.get("-smp", "")), _M.fullmatch(values.get("-m", ""))
    return Sizes(
        int(memory[1]) if memory else 0,
        int(memory[2] or 0) if memory else 0,
        int(smp[1] or smp[2]) if smp else 0,
        int(smp[3] or 0) if smp else 0,
        smp[4] or "" if smp else "",
    )


def size_changes(started: Sizes, planned: Sizes, now: ObservedSizes) -> SizeChanges:
    """Return the changes of a running VM; started: its sizes when it started."""
    reasons = [*_memory_reasons(started, planned), *_cpu_reasons(started, planned)]
    change: list[str] = []
    plugged = planned.memory - started.memory
    if planned.memory_max and planned.memory_max == started.memory_max and plugged >= 0:
        # What a guest has not taken, or not given back, is asked for again.
        change += [MEMORY] if {now["memory"], now["requested"]} != {plugged} else []
    if planned.cpus_max and planned.cpus_max == started.cpus_max and planned.topology == started.topology:
        change += [CPUS] if now["cpus"] < planned.cpus else []
        if now["cpus"] > planned.cpus:
            reasons.append(f"cpus are fewer than the {now['cpus']} that the VM has: a guest may hang if one is removed")
    return SizeChanges(tuple(change), tuple(reasons))


def _memory_reasons(started: Sizes, planned: Sizes) -> Iterator[str]:
    if planned.memory_max != started.memory_max:
        yield "memory_max has changed"
    elif not planned.memory_max and planned.memory != started.memory:
        yield "memory has changed"
    elif planned.memory_max and planned.memory < started.memory:
        yield f"memory is less than the {in_words(started.memory)} with which the VM was started"


def _cpu_reasons(started: Sizes, planned: Sizes) -> Iterator[str]:
    if planned.cpus_max != started.cpus_max:
        yield "cpus_max has changed"
    elif not planned.cpus_max and planned.cpus != started.cpus:
        yield "cpus has changed"
    if planned.topology != started.topology and planned.cpus_max == started.cpus_max:
        yield "cpu_sockets, cpu_cores or cpu_threads have changed"
