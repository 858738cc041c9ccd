# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks the settings of a VM against each other. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from uuid import UUID

from ansible_collections.directdisk.qemu.plugins.module_utils._backends.values import Values
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.boards import family
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError
from ansible_collections.directdisk.qemu.plugins.module_utils._options.read import in_words

AGENT_PORT = "org.qemu.guest_agent.0"
"""Name of the port that guest agents open."""
NO_UUID = str(UUID(int=0))
"""QEMU takes it for no UUID."""
MEMORY_STEP = 128 * 1024**2
"""Size of the blocks in which Linux takes memory on x86."""
_TOPOLOGY = ("cpu_sockets", "cpu_cores", "cpu_threads")
_EXTRA_ARGS = {"uuid": ("uuid",), "smp": ("cpus_max", *_TOPOLOGY), "m": ("memory_max",)}
"""Options of a VM by the argument of QEMU that they become, and that extra_args would change."""


def settings_problems(name: str, settings: Values) -> Iterator[DeclarationError]:
    """Yield the settings of a VM that contradict each other; those that could not be read are missing."""
    yield from _purge_of_present(name, settings)
    yield from _secure_boot_without_uefi(name, settings)
    yield from _second_agent_port(name, settings)
    yield from _second_argument(name, settings)
    if settings.get("uuid") == NO_UUID:
        yield DeclarationError(f"vm {name}: uuid", "QEMU takes a UUID of zeroes for none; declare another one")
    yield from _cpus_beside_others(name, settings)
    yield from _memory_beside_maximum(name, settings)


def cpu_topology(settings: Values) -> dict[str, int]:
    """Return sockets, cores and threads by their names in QEMU; empty if none of them is declared."""
    if not any(option in settings for option in _TOPOLOGY):
        return {}
    return {option.partition("_")[2]: settings.get(option, 1) for option in _TOPOLOGY}


def _cpus_beside_others(name: str, settings: Values) -> Iterator[DeclarationError]:
    cpus, most = settings.get("cpus"), settings.get("cpus_max")
    if cpus is None:
        return
    if most is not None and cpus > most:
        yield DeclarationError(f"vm {name}: cpus", f"{cpus} is more than cpus_max ({most})")
    topology = cpu_topology(settings)
    total, option = (cpus, "cpus") if most is None else (most, "cpus_max")
    if topology and prod(topology.values()) != total:
        factors = " * ".join(map(str, topology.values()))
        yield DeclarationError(
            f"vm {name}: {option}",
            f"{total} is not {' * '.join(_TOPOLOGY)} ({factors} = {prod(topology.values())}); "
            "each of them that is not declared is 1",
        )


def _memory_beside_maximum(name: str, settings: Values) -> Iterator[DeclarationError]:
    memory, most = settings.get("memory"), settings.get("memory_max")
    if memory is None or most is None:
        return
    if memory > most:
        yield DeclarationError(f"vm {name}: memory", f"{in_words(memory)} is more than memory_max ({in_words(most)})")
    for option, size in (("memory", memory), ("memory_max", most)):
        if size % MEMORY_STEP:
            yield DeclarationError(
                f"vm {name}: {option}",
                f"{in_words(size)} is not a multiple of {in_words(MEMORY_STEP)}, in which guests take memory while "
                "they run",
            )


def _second_argument(name: str, settings: Values) -> Iterator[DeclarationError]:
    """Refuse an argument that changes what options declare."""
    extra = {argument.lstrip("-") for argument in settings.get("extra_args", ()) if argument.startswith("-")}
    for argument, options in _EXTRA_ARGS.items():
        declared = [option for option in options if option in settings]
        if argument in extra and declared:
            yield DeclarationError(
                f"vm {name}: extra_args", f"has -{argument} beside {' and '.join(declared)}; leave one of them out"
            )


def _purge_of_present(name: str, settings: Values) -> Iterator[DeclarationError]:
    """Refuse to remove what the guest of a VM wrote that is not removed itself."""
    if settings.get("purge") and settings.get("state") != "absent":
        yield DeclarationError(f"vm {name}: purge", "removes what the guest wrote, so it requires state: absent")


def _second_agent_port(name: str, settings: Values) -> Iterator[DeclarationError]:
    """Refuse a port of the guest agent that a VM has by itself."""
    if settings.get("guest_agent") and any(AGENT_PORT in one for one in settings.get("extra_args", ())):
        yield DeclarationError(f"vm {name}: extra_args", f"has the port {AGENT_PORT} of guest_agent, too")


def _secure_boot_without_uefi(name: str, settings: Values) -> Iterator[DeclarationError]:
    """Refuse Secure Boot without the firmware and the board that have it."""
    if not settings.get("secure_boot"):
        return
    if settings.get("firmware") != "uefi":
        yield DeclarationError(f"vm {name}: secure_boot", "is for firmware: uefi")
    if family(settings.get("machine", "")) != "q35":
        yield DeclarationError(
            f"vm {name}: secure_boot",
            f"a {settings.get('machine')} cannot protect the UEFI variables from the guest (it has no SMM for them); "
            "set machine: q35",
        )
