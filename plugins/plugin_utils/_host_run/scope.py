# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The VMs of a host on which a run acts, and those that it leaves as they are. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.read_vm import read_vm
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.vm import Vm
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError
from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run.run_options import VARIABLES, RunOptions

_MOST_NAMED = 8


@dataclass(frozen=True)
class Scope:
    """The VMs of one host, divided by the options of a run."""

    vms: tuple[Vm, ...]
    """All VMs: those that are left out count in every check for conflicts."""
    chosen: tuple[Vm, ...]
    """The VMs on which the run acts."""
    left_out: list[str]
    unmatched: dict[str, list[str]]
    """Names and patterns that no VM of this host has, by option."""

    @property
    def is_empty(self) -> bool:
        """Return if the run leaves all VMs of this host as they are, and so the host itself."""
        return bool(self.left_out) and not self.chosen

    def result(self) -> dict[str, Any]:
        """Return the members of a task's result about the VMs that are left out."""
        return {
            **({"left_out": self.left_out} if self.left_out else {}),
            **({"unmatched": self.unmatched} if self.unmatched else {}),
        }


def scope_of(vms: Iterable[Vm], options: RunOptions) -> Scope:
    """Divide the VMs of a host by the options of a run."""
    vms = tuple(vms)
    chosen = tuple(vm for vm in vms if is_chosen(vm.name, options.only_vms))
    unmatched = {
        "only_vms": _without_vm(options.only_vms or (), vms),
        "recreate": _without_vm(options.recreate, chosen),
        "takeover": _without_vm(options.takeover, chosen),
    }
    names = {vm.name for vm in chosen}
    left_out = [vm.name for vm in vms if vm.name not in names]
    return Scope(vms, chosen, left_out, {option: names for option, names in unmatched.items() if names})


def pruned(vms: Sequence[Vm], undeclared: Iterable[str], options: RunOptions) -> tuple[Vm, ...]:
    """Return the VMs of a host that left the inventory, as absent ones, if the run removes such VMs."""
    gone = tuple(undeclared) if options.prune else ()
    if gone and not vms:
        raise DeclarationError(
            "",
            f"declares no VM, so that qemu_vms_prune would remove all of its VMs ({named(gone)}); if they are to be "
            "removed, declare them with state: absent",
        )
    return tuple(read_vm(name, {"state": "absent"}) for name in gone)


def is_chosen(name: str, patterns: Sequence[str] | None) -> bool:
    """Return if a run acts on a VM; patterns: None for all VMs."""
    return patterns is None or any(fnmatchcase(name, pattern) for pattern in patterns)


def _without_vm(patterns: Sequence[str], vms: Sequence[Vm]) -> list[str]:
    return [pattern for pattern in patterns if not any(fnmatchcase(vm.name, pattern) for vm in vms)]


def unmatched_everywhere(results: Mapping[str, Mapping[str, Any]]) -> list[DeclarationError]:
    """Return an error for each name and pattern that no VM of any host has; results: of step observe, by host."""
    some = [result.get("unmatched") or {} for result in results.values()]
    return [
        DeclarationError(
            f"{VARIABLES[option]}: {name}",
            f"no VM of {named(results)} has such a name; correct it, or run the hosts that declare the VM, too",
        )
        for option, names in (some[0] if some else {}).items()
        for name in names
        if all(name in one.get(option, ()) for one in some)
    ]


def named(hosts: Collection[str]) -> str:
    """Return the names of hosts for a message, not more than fit in a line."""
    names = list(hosts)
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return f"{', '.join(names[:_MOST_NAMED])}{more}"
