# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The declarations compared with what hosts have, as they have answered qemu_info. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import TypedDict

from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.boards import is_versioned
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError
from ansible_collections.directdisk.qemu.plugins.module_utils._plan import host_size
from ansible_collections.directdisk.qemu.plugins.plugin_utils._inventory.declared import DeclaredFleet, DeclaredVm

_MOST_NAMED = 8


class _Probed(TypedDict, total=False):
    version: list[int]


class HostFacts(TypedDict, total=False):
    """The registered result of qemu_info on a host, as far as it is read here; empty if the host was not asked."""

    host: host_size.HostSize
    capabilities: _Probed


Answers = Mapping[str, HostFacts]
"""By host."""


def errors(fleet: DeclaredFleet, answers: Answers) -> list[DeclarationError]:
    """Return errors about VMs that their host cannot start."""
    found: list[DeclarationError] = []
    for host, vms in _present(fleet).items():
        size = answers.get(host, {}).get("host")
        started = (one.vm for one in vms if one.vm.state == "started")
        found += [error.within(host) for error in host_size.too_large(started, size)] if size else []
    return found


def warnings(fleet: DeclaredFleet, answers: Answers) -> Iterator[str]:
    """Yield warnings about hosts with too little memory, and about boards that differ from host to host."""
    for host, vms in _present(fleet).items():
        size = answers.get(host, {}).get("host")
        for warning in host_size.overcommitted((one.vm for one in vms), size) if size else ():
            yield f"{host}: {warning}"
    yield from _unversioned_boards(fleet, answers)


def _present(fleet: DeclaredFleet) -> dict[str, list[DeclaredVm]]:
    vms: dict[str, list[DeclaredVm]] = defaultdict(list)
    for one in fleet.vms:
        if one.present:
            vms[one.host].append(one)
    return vms


def _unversioned_boards(fleet: DeclaredFleet, answers: Answers) -> Iterator[str]:
    """Yield one warning about the VMs whose board would be another one on another host."""
    releases: dict[str, list[str]] = defaultdict(list)
    for host, answer in answers.items():
        version = answer.get("capabilities", {}).get("version") or []
        if len(version) > 1:
            releases[f"{version[0]}.{version[1]}"].append(host)
    named = [one.vm.name for one in fleet.vms if one.present and not is_versioned(one.vm.settings["machine"])]
    if len(releases) < 2 or not named:
        return
    hosts = "; ".join(f"{release} on {_some(releases[release])}" for release in sorted(releases, key=_number))
    yield (
        f"the hosts have different releases of QEMU ({hosts}), and machine: q35 or pc is another board on each: "
        f"{_some(named)}; if they move between hosts, declare a board that all of them know, such as "
        f"machine: pc-q35-{min(releases, key=_number)}"
    )


def _number(release: str) -> tuple[int, ...]:
    return tuple(map(int, release.split(".")))


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return f"{', '.join(names[:_MOST_NAMED])}{more}"
