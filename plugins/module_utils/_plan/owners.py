# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The check of who has the storage of a VM open: commands of its unit, and questions for the module. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._backends.access import OwnerCheck
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.resources import Credential, UnitResources
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.schema import PASSTHROUGH
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.vm import Vm
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.start_check import starts_paused
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.storage_owners import FileSource, OwnerQuestion
from ansible_collections.directdisk.qemu.plugins.module_utils._programs import (
    owners_iscsi,
    owners_path,
    owners_rbd,
    storage_owner,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._units import paths
from ansible_collections.directdisk.qemu.plugins.module_utils._units.compact_json import compact
from ansible_collections.directdisk.qemu.plugins.module_utils._units.service import Command

PROGRAMS: dict[str, ModuleType] = {
    paths.OWNER_PROGRAM: storage_owner,
    **{
        paths.OWNER_PROGRAM.replace(".py", f"-{kind}.py"): program
        for kind, program in (("rbd", owners_rbd), ("iscsi", owners_iscsi), ("path", owners_path))
    },
}
"""The programs that ask storage for its owner, by their paths on the host."""

_PROGRAM = (*paths.PYTHON, paths.OWNER_PROGRAM)


@dataclass(frozen=True)
class OwnerCommands:
    """The commands of a launch unit that ask storage for its owner."""

    before: tuple[Command, ...] = ()
    once_open: tuple[Command, ...] = ()
    """The guest does not run before they have succeeded."""
    after: tuple[Command, ...] = ()


@dataclass(frozen=True)
class DiskCheck:
    """A question to the storage of one disk."""

    disk: str
    check: OwnerCheck

    def document(self) -> dict[str, Any]:
        """Return the program's input."""
        return {"disk": self.disk, "kind": self.check.kind, **self.check.facts}


def check_of(disk: Disk, vm: Vm, resources: UnitResources) -> DiskCheck | None:
    """Return the question about a disk that is written; None if its storage cannot answer it."""
    if disk.writes != "keep" or disk.backend.access.owner is None:
        return None
    check = disk.backend.access.owner(disk.source, resources, vm.uuid)
    # A guest that sends SCSI commands to a device makes and takes reservations itself.
    if disk.settings["model"] in PASSTHROUGH and not check.locked:
        return None
    return DiskCheck(f"disk {disk.name} of {vm.name}: {disk.described}", check)


def why_not_taken(disk: Disk, vm: Vm) -> str:
    """Return why a disk cannot be taken from a client that has it open; empty if it can, or if no other host can."""
    if disk.writes != "keep" or disk.backend.source.local(disk.source):
        return ""
    if disk.backend.access.owner is None:
        return f"{disk.backend.name} neither knows its clients nor shuts one out"
    if disk.settings["model"] in PASSTHROUGH:
        return f"its guest makes and takes reservations itself (model {disk.settings['model']})"
    resources = UnitResources(paths.unit_name(vm.name), disk.name, paths.runtime_directory(vm.name))
    takes = disk.backend.access.owner(disk.source, resources, vm.uuid).takes
    return "" if takes else f"{disk.backend.name} shuts out no client"


def owner_commands(vm: Vm, checks: Sequence[DiskCheck], *, credentials: bool) -> OwnerCommands:
    """Return the commands for checks; credentials: if commands before the start can read the unit's credentials."""
    seconds = str(vm.settings["start_timeout"])
    named = [compact(one.document()) for one in checks if one.check.locked]
    asked = [compact(one.document()) for one in checks if not one.check.locked]
    counted = [compact(one.document()) for one in checks if one.check.shows_qemu]
    # A VM that is declared to start paused stays so.
    monitor = "" if starts_paused(vm) else paths.qmp_socket(vm.name)
    return OwnerCommands(
        before=(Command((*_PROGRAM, "look", seconds, *asked)),) if asked and credentials else (),
        once_open=(Command((*_PROGRAM, "release", seconds, monitor, *counted), privileged=True),) if counted else (),
        after=(Command((*_PROGRAM, "name", "5", *named), privileged=True, optional=True),) if named else (),
    )


def questions(vms: Iterable[Vm]) -> dict[str, list[OwnerQuestion]]:
    """Return the questions about the disks of VMs that are declared started, by VM."""
    questions: dict[str, list[OwnerQuestion]] = {}
    for vm in vms:
        asked = [_question(disk, vm) for disk in vm.disks] if vm.state == "started" else []
        if any(asked):
            questions[vm.name] = [question for question in asked if question]
    return questions


def _question(disk: Disk, vm: Vm) -> OwnerQuestion | None:
    resources = UnitResources(paths.unit_name(vm.name), disk.name, paths.runtime_directory(vm.name))
    check = check_of(disk, vm, resources)
    return None if check is None else _asked(disk, check, resources, paths.owner_name(vm.name))


def source_question(disk: Disk) -> tuple[OwnerQuestion, dict[str, str]] | None:
    """Return the question about a disk that a module reads, and its secrets by the paths of their credentials."""
    if disk.backend.access.owner is None:
        return None
    resources = UnitResources("", disk.name, "")
    check = DiskCheck(disk.described, disk.backend.access.owner(disk.source, resources, ""))
    credentials = {path: one.value for path, one in _at_rest(resources, "").items() if one.value is not None}
    return _asked(disk, check, resources, ""), credentials


def _asked(disk: Disk, check: DiskCheck, resources: UnitResources, owner: str) -> OwnerQuestion:
    """Return a question; owner: of the credentials at rest."""
    files: dict[str, FileSource] = {}
    for at_rest, credential in _at_rest(resources, owner).items():
        path = resources.credential_path(credential.name)
        if credential.value is not None:
            files[path] = {"secret": at_rest}
        else:
            files[path] = {"source": credential.source} if credential.source else {"text": credential.public}
    return {"identity": disk.identity, "check": check.document(), "files": files, "joins": resources.joins}


def _at_rest(resources: UnitResources, owner: str) -> dict[str, Credential]:
    return {paths.credential_file(owner, name, encrypted=True): one for name, one in resources.credentials.items()}
