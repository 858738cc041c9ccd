# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The memory and CPUs of VMs, compared with those of their host. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypedDict

from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.vm import Vm
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError

_MOST_NAMED = 8


class HostSize(TypedDict):
    """The memory and CPUs of a host; sizes in bytes."""

    memory: int
    swap: int
    cpus: int


def too_large(vms: Iterable[Vm], size: HostSize) -> Iterator[DeclarationError]:
    """Yield the VMs that cannot start, because the kernel does not give a process more than all memory and swap."""
    for vm in vms:
        option = "memory_max" if "memory_max" in vm.settings else "memory"
        if vm.settings[option] > size["memory"] + size["swap"]:
            swap = f" and {_gib(size['swap'])} of swap" if size["swap"] else ""
            yield DeclarationError(
                f"vm {vm.name}: {option}",
                f"{_gib(vm.settings[option])} is more than the host has ({_gib(size['memory'])}{swap}); "
                "declare less, or declare it on another host",
            )


def overcommitted(vms: Iterable[Vm], size: HostSize) -> Iterator[str]:
    """Yield warnings about VMs that together need more memory than the host has, or alone more CPUs."""
    started = sorted((vm for vm in vms if vm.state == "started"), key=lambda vm: -int(vm.settings["memory"]))
    memory = sum(int(vm.settings["memory"]) for vm in started)
    if memory > size["memory"]:
        named = [f"{vm.name} {_gib(vm.settings['memory'])}" for vm in started[:_MOST_NAMED]]
        more = [f"{len(started) - _MOST_NAMED} more"] if len(started) > _MOST_NAMED else []
        yield (
            f"its VMs are declared with {_gib(memory)} of memory together ({', '.join([*named, *more])}), and it has "
            f"{_gib(size['memory'])}; once the guests use it, the host swaps or its kernel kills a VM"
        )
    for vm in started:
        option = "cpus_max" if "cpus_max" in vm.settings else "cpus"
        if vm.settings[option] > size["cpus"]:
            yield (
                f"vm {vm.name}: {option}: {vm.settings[option]} are more than the host has ({size['cpus']}); "
                "the guest is slower with them than with fewer"
            )


def _gib(size: int) -> str:
    return f"{size / 1024**3:.1f} GiB"
