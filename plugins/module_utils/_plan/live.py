# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The changes that lead a running QEMU to its plan without a restart, and what does require one. Pure."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.pci import is_shared_controller
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.live_media import (
    MediumChanges,
    is_cd_drive,
    medium_changes,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.live_networks import NetworkChanges, networks_now
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.live_options import option_changes
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.live_state import LiveDisk, ObservedProcess
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.running_parts import (
    NO_PORT,
    Part,
    RunningParts,
    is_port,
    needs_port,
    parts_of,
    properties_of,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._units.compact_json import compact
from ansible_collections.directdisk.qemu.plugins.module_utils._units.node_names import vm_node

_OPTIONS = {
    "-accel": "accel",
    "-cpu": "cpu_model",
    "-display": "vnc",
    "-serial": "console",
    "-uuid": "uuid",
    "-vnc": "vnc",
}
"""Options of QEMU whose values come from one setting of the VM."""
_NODES = {
    "agent": "guest_agent",
    "seed": "cloud_init",
    "uefi-code": "firmware",
    "uefi-vars": "firmware",
    "usb": "usb disks",
}


@dataclass(frozen=True)
class LiveChanges:
    """The changes of a running VM, and the reasons for a restart."""

    attach: tuple[str, ...] = ()
    """Disks."""
    detach: tuple[str, ...] = ()
    limit: tuple[str, ...] = ()
    """Disks whose limits change."""
    reopen: tuple[str, ...] = ()
    """Disks that get another discard or detect_zeroes."""
    eject: tuple[str, ...] = ()
    """CD drives whose medium is taken out, to get another one or none."""
    insert: tuple[str, ...] = ()
    """CD drives that get a medium."""
    controllers: tuple[str, ...] = ()
    """SCSI controllers without disks, whose places are free for others then."""
    networks: NetworkChanges = field(default_factory=NetworkChanges)
    conflicts: tuple[str, ...] = ()
    """Reasons why nothing is changed: somebody has given names of disks or networks to something else."""
    sizes: tuple[str, ...] = ()
    """CPUs and memory that are plugged or unplugged."""
    new_password: bool = False
    """If the screen gets another password."""
    restart: tuple[str, ...] = ()
    """Reasons why the VM must be restarted to be as declared."""


def running_now(process: ObservedProcess) -> RunningParts:
    """Return the parts that a process has, also if only a part of a disk is there.

    These are the parts of its start and those that were attached since, without those that are gone.
    """
    parts = parts_of(process["argv"])
    disks = dict(parts.disks)
    for name, disk in process["disks"].items():
        if disk is None:
            disks.pop(name, None)
        else:
            disks[name] = part_of(disk)
    present = {*process["devices"], *process["nodes"]}
    return replace(
        parts,
        disks={name: part for name, part in disks.items() if _ids(part) & present},
        networks=networks_now(parts.networks, process),
    )


def incomplete(running: RunningParts, process: ObservedProcess) -> list[str]:
    """Return the disks of which a process has only a part: a run that changed them was ended, or somebody has."""
    present = {*process["devices"], *process["nodes"]}
    return [name for name, part in running.disks.items() if _ids(part) - present]


def part_of(disk: LiveDisk) -> Part:
    """Return the arguments of a disk on a command line."""
    return Part(tuple(disk["objects"]), tuple(map(compact, disk["nodes"])), tuple(disk["devices"]))


def controller_of(part: Part) -> str:
    """Return the id of the SCSI controller of a disk, which others may share; empty if it has none."""
    bus = properties_of(part.devices[-1]).get("bus", "") if part.devices else ""
    return bus.rpartition(".")[0] if "scsi-id" in properties_of(part.devices[-1]) else ""


def empty_controllers(
    running: RunningParts, planned: RunningParts, devices: Collection[str], detach: Collection[str]
) -> tuple[str, ...]:
    """Return the shared controllers that no disk uses, also those that a guest did not give back to an earlier run."""
    used = {controller_of(part) for name, part in running.disks.items() if name not in detach}
    return tuple(
        one for one in filter(is_shared_controller, devices) if one not in used and one not in planned.controllers
    )


def _ids(part: Part) -> set[str]:
    """Return the ids of a disk's devices and the names of its nodes."""
    return {properties_of(device)["id"] for device in part.devices} | {
        json.loads(node)["node-name"] for node in part.nodes
    }


def live_changes(
    running: RunningParts,
    planned: RunningParts,
    fixed: Mapping[str, str],
    *,
    devices: Collection[str] = (),
    broken: Collection[str] = (),
    drifted: Collection[str] = (),
    media: Mapping[str, str] | None = None,
    replaced: Collection[str] = (),
    release: Sequence[int] = (),
) -> LiveChanges:
    """Return the changes of one VM.

    fixed: why disks of the plan cannot be attached to a running VM; devices: ids of all that it has; broken: disks of
    which it has only a part; drifted: disks whose limits are not those that they should have; media: the nodes in its
    CD drives; replaced: disks whose helper serves other storage than before; release: of its QEMU.
    """
    attach: list[str] = []
    limit: list[str] = []
    reopen: list[str] = []
    reasons = list(_rest(running, planned))
    drives = _drives(running, planned, media or {}, {*broken, *replaced})
    later = [name for name, one in drives.items() if one.insert and name in fixed]
    reasons += [f"disk {name} has another medium: {fixed[name]}" for name in later]
    for name, part in planned.disks.items():
        before = None if name in broken else running.disks.get(name)
        if name in drives:
            continue
        if before is None:
            why = fixed.get(name) or why_fixed(part) or (NO_PORT if needs_port(part, running, planned) else "")
            reasons += [f"disk {name} is new: {why}"] if why else []
            attach += [] if why else [name]
        else:
            changes = option_changes(before, part, release)
            limit += [name] if changes.limit or (name in drifted and not changes.reason) else []
            reopen += [name] if changes.reopen else []
            reasons += [f"disk {name} has other {changes.reason}"] if changes.reason else []
    detach, kept = _undeclared_disks(running, planned, broken)
    return LiveChanges(
        tuple(attach),
        tuple(detach),
        tuple(limit),
        tuple(reopen),
        eject=tuple(name for name, one in drives.items() if one.eject and name not in later),
        insert=tuple(name for name, one in drives.items() if one.insert and name not in later),
        controllers=empty_controllers(running, planned, devices, detach),
        restart=tuple(dict.fromkeys([*reasons, *kept])),
    )


def _undeclared_disks(
    running: RunningParts, planned: RunningParts, broken: Collection[str]
) -> tuple[list[str], list[str]]:
    """Return the disks to detach, and why others cannot be detached."""
    detach: list[str] = []
    reasons: list[str] = []
    for name, part in running.disks.items():
        if name not in planned.disks:
            why = "the VM boots from it" if _boots(part) else why_fixed(part)
            if why and name not in broken:
                reasons.append(f"disk {name} is not declared any more: {why}")
            else:
                detach.append(name)
    return detach, reasons


def _drives(
    running: RunningParts, planned: RunningParts, media: Mapping[str, str], outdated: Collection[str]
) -> dict[str, MediumChanges]:
    """Return the CD drives that can get their medium without a restart, with what changes."""
    drives = {
        name: medium_changes(running.disks.get(name), part, media.get(name), current=name not in outdated)
        for name, part in planned.disks.items()
        if is_cd_drive(part)
    }
    return {name: changes for name, changes in drives.items() if changes.applies}


def _boots(part: Part) -> bool:
    return any(properties_of(device).get("bootindex") == "0" for device in part.devices)


def why_fixed(part: Part) -> str:
    """Return why a disk with this device can be neither plugged nor unplugged; empty if it can."""
    device = part.devices[-1].partition(",")[0] if part.devices else ""
    return "an ide disk cannot be plugged while the VM runs" if device in ("ide-hd", "ide-cd") else ""


def _rest(running: RunningParts, planned: RunningParts) -> Iterator[str]:
    """Yield the reasons in arguments that belong to no disk and no network."""
    before, after = Counter(running.rest), Counter(planned.rest)
    parts = (*planned.disks.values(), *planned.networks.values())
    # Then the reasons name the disks and networks that need the new ports.
    lacks_port = any(needs_port(part, running, planned) for part in parts)
    for group in (before - after) + (after - before):
        if not (lacks_port and is_port(group)):
            yield _reason(group)


def _reason(group: tuple[str, ...]) -> str:
    option, value = group[0], group[-1]
    if option in _OPTIONS:
        return f"{_OPTIONS[option]} has changed"
    if is_port(group):
        return "its unit has other ports for new devices"
    for role, setting in _NODES.items():
        if vm_node(role) in value:
            return f"{setting} has changed"
    return f"{option} has changed" if option.startswith("-") else f"extra_args has changed: {option}"
