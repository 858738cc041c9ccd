# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The disks of a plan as a running QEMU can be given them, and why others have to wait for a restart. Pure."""

from __future__ import annotations

from ansible_collections.directdisk.qemu.plugins.module_utils._backends.resources import Object
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.live_media import empty_drive
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.live_state import LiveDisk, LiveOverlay
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.plan import Plan, PlannedDisk
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.running_parts import (
    Part,
    RunningParts,
    properties_of,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._units import paths


def why_not_live(planned: PlannedDisk) -> str:
    """Return why a disk cannot be attached while its VM runs; empty if it can."""
    resources, opened = planned.resources, planned.opened
    secrets = {one.properties.get("file") for one in resources.objects if one.kind == "secret"}
    named = {value for node in planned.graph.nodes for value in node.values() if isinstance(value, str)}
    files = [
        credential.name
        for credential in resources.credentials.values()
        if resources.credential_path(credential.name) not in (named if credential.public else secrets)
    ]
    if "renamed_from" in planned.disk.settings:
        return "its overlay is renamed when the VM starts"
    if opened.unpacks:
        return "it is unpacked as it is opened, for which the guest would have to halt"
    if resources.identities:
        return "the ssh-agent gets keys when the VM starts"
    if files or resources.links or resources.joins:
        return "QEMU reads its credentials or its configuration from files, which it gets when the VM starts"
    if opened.reach.trust or opened.reach.known_hosts or opened.reach.sockets:
        return "QEMU sees its files and sockets only from its start on"
    return ""


def live_drives(plan: Plan, parts: RunningParts, *, encrypted: bool) -> dict[str, LiveDisk]:
    """Return the disks and CD drives of a VM as a host attaches them; encrypted: if credentials are, at rest."""
    drives = {one.disk.name: live_disk(plan, one, parts, encrypted=encrypted) for one in plan.disks}
    for drive in plan.vm.drives if plan.services else ():
        if drive.name not in drives:
            part = parts.disks[drive.name]
            drives[drive.name] = {**empty_drive(part), "controller": _shared_controller(part, parts)}
    return drives


def live_disk(plan: Plan, planned: PlannedDisk, parts: RunningParts, *, encrypted: bool) -> LiveDisk:
    """Return a disk as the host attaches it; encrypted: if credentials are encrypted at rest."""
    name = planned.disk.name
    part, reach = parts.disks[name], planned.opened.reach
    owner = paths.owner_name(plan.vm.name)
    access = "rw" if planned.disk.writes == "keep" else "r"
    return {
        "objects": list(part.objects),
        "nodes": list(planned.graph.nodes),
        "controller": _shared_controller(part, parts),
        "devices": list(part.devices),
        "secrets": {
            one.identifier: planned.resources.credentials[_credential(one)].source
            or paths.credential_file(owner, _credential(one), encrypted=encrypted)
            for one in planned.resources.objects
            if one.kind == "secret"
        },
        "files": {
            **{path: {"path": path, "mode": access} for path in (*reach.files, *reach.devices)},
            **{seen: {"path": path, "mode": "r"} for path, seen in planned.opened.bound},
        },
        "texts": {
            planned.resources.credential_path(one.name): one.public
            for one in planned.resources.credentials.values()
            if one.public
        },
        "passed": {},
        "helpers": [service.name for service in planned.opened.services],
        "network": bool(reach.servers or reach.open_because),
        "backing": {planned.graph.base: planned.disk.backing} if planned.disk.backing else {},
        "overlay": _overlay(planned),
    }


def _overlay(planned: PlannedDisk) -> LiveOverlay | None:
    graph = planned.graph
    if not graph.overlay:
        return None
    return {
        "path": graph.overlay,
        "persistent": planned.disk.writes == "overlay",
        "base": graph.base,
        "backing": graph.backing,
        "format": graph.base_nodes()[-1]["driver"],
    }


def _shared_controller(part: Part, parts: RunningParts) -> str:
    bus = properties_of(part.devices[-1]).get("bus", "").rpartition(".")[0]
    return parts.controllers.get(bus, "")


def _credential(secret: Object) -> str:
    """Return the name of the credential that a secret reads."""
    return secret.properties["file"].rpartition("/")[2]


def fixed_disks(plan: Plan) -> dict[str, str]:
    """Return why storage of a plan cannot be given to a running VM, by disk."""
    reasons = {one.disk.name: why_not_live(one) for one in plan.disks}
    return {name: reason for name, reason in reasons.items() if reason}
