# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The changes of one run by VM, in a few words each, for the table at the end of a run. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.contract import DESTROYS
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.changes import Changes
from ansible_collections.directdisk.qemu.plugins.module_utils._units import paths
from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run.managed_disks import DiskResults


def vm_changes(changes: Changes, disks: DiskResults) -> dict[str, list[str]]:
    """Return what changes of each VM, by name, without the VMs that stay as they are; disks: those that change.

    Changes of the host itself have an empty name, and stand there only if no VM changes: no change is without a word.
    """
    by_vm: dict[str, list[str]] = {}
    for vm, words in (*_of_disks(disks), *_of_runs(changes)):
        by_vm.setdefault(vm, []).append(words)
    # A VM that starts has new files, too: those are worth a word only where nothing else changes.
    files: dict[str, list[str]] = {}
    for vm, words in _of_files(changes):
        if vm not in by_vm and words not in files.setdefault(vm, []):
            files[vm].append(words)
    of_host = files.pop("", [])
    if changes.reload and not of_host:
        of_host.append("reload systemd")
    result = {**by_vm, **files}
    return result or ({"": of_host} if of_host else {})


def _of_disks(disks: DiskResults) -> Iterator[tuple[str, str]]:
    for disk, result in disks.results:
        actions = result.get("actions") or ["change"]
        lost = any(line.startswith(DESTROYS) for line in actions)
        yield disk.vm, f"{DESTROYS}disk {disk.disk}" if lost else f"{actions[0].split()[0]} disk {disk.disk}"


def _of_runs(changes: Changes) -> Iterator[tuple[str, str]]:
    """Yield what happens to VMs and, while they run, to their devices."""
    units = [path.rpartition("/")[2] for path in changes.remove_files]
    # Not those of helpers.
    removed = [paths.vm_of_unit(unit) for unit in units if unit == paths.unit_name(paths.vm_of_unit(unit))]
    yield from ((vm, f"{DESTROYS}purge") for vm in changes.purge)
    for verb, names in (
        ("stop", changes.stop),
        ("take over storage", changes.take_over),
        ("remove unit", removed),
        ("restart", changes.restart),
        ("start", changes.start),
        ("resume", changes.resume),
        ("unplug undeclared device", changes.unplug_undeclared),
    ):
        yield from ((vm, verb) for vm in names)
    for verb, parts in changes.live_parts().items():
        yield from ((vm, f"{verb} {name}") for vm, name in parts)
    yield from ((vm, "change password of screen") for vm in changes.passwords)


def _of_files(changes: Changes) -> Iterator[tuple[str, str]]:
    """Yield what is written and removed of VMs, and of the host itself."""
    yield from ((vm, "enable" if vm else "enable all vms") for vm in changes.enable)
    yield from ((vm, "disable") for vm in changes.disable)
    owners = {paths.owner_of_credential(path) for path in (*changes.write_credentials, *changes.remove_credentials)}
    prefix = paths.owner_name("")
    yield from ((owner[len(prefix) :] if owner.startswith(prefix) else "", "secrets") for owner in sorted(owners))
    for verb, files in (("write unit", changes.write_files), ("remove unit", changes.remove_files)):
        yield from ((paths.vm_of_unit(path.rpartition("/")[2]), verb) for path in files)
    yield from ((paths.vm_of_unit(unit), "restart helper") for unit in changes.refresh)
    for path in (*changes.remove_folders, *changes.remove_links):
        yield paths.vm_of_directory(path.rpartition("/")[2]), "remove folder"
    yield from (("", "remove staged image") for image in changes.remove_images)
