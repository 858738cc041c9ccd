# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Overlays that a changed declaration would leave behind."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.read_vm import read_vms
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.vm import Vm
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DirectDiskError
from ansible_collections.directdisk.qemu.plugins.module_utils._plan import overlays
from ansible_collections.directdisk.qemu.tests.unit.support import plan

GOLDEN = {"nbd": {"host": "192.0.2.5"}, "writes": "overlay"}
OTHER = {"nbd": {"host": "192.0.2.6"}, "writes": "overlay"}


def vms(**disks: Any) -> tuple[Vm, ...]:
    return read_vms({"web1": {"disks": disks}}, "hv1")


def name_of(disk: str, declared: dict[str, Any] | None = None) -> str:
    (vm,) = vms(**{disk: declared or GOLDEN})
    return overlays.overlay_of(vm.disks[0]).file


def refusal(found: list[str], **disks: Any) -> str:
    with pytest.raises(DirectDiskError) as raised:
        overlays.refuse_left_behind(vms(**disks), {"web1": found})
    return str(raised.value)


def test_a_renamed_disk_does_not_begin_empty() -> None:
    file = name_of("root")
    assert refusal([file], system=GOLDEN) == (
        "disk system of web1: would begin with an empty overlay: that of disk root, which is no longer declared, "
        "is over the same storage; set renamed_from: root to use it, or remove "
        f"/var/lib/qemu-vm-web1/{file} to begin with an empty one"
    )
    assert "set renamed_from: root" in refusal([file], system={**GOLDEN, "renamed_from": "boot"})


@pytest.mark.parametrize(
    ("found", "disks"),
    [
        ([], {"system": GOLDEN}),
        ([name_of("root")], {"root": GOLDEN}),
        ([name_of("root")], {"root": GOLDEN, "scratch": {**GOLDEN}}),
        ([name_of("root"), name_of("system")], {"system": GOLDEN}),
        ([name_of("root", OTHER)], {"system": GOLDEN}),
        ([name_of("root")], {"system": {**GOLDEN, "renamed_from": "root"}}),
        ([name_of("system")], {"system": {**GOLDEN, "renamed_from": "root"}}),
        ([name_of("root")], {"system": {**GOLDEN, "writes": "discard"}}),
        (["root-1.qcow2", "../x-01234567.qcow2", "x" * 30], {"system": GOLDEN}),
    ],
)
def test_what_leaves_nothing_behind_is_not_refused(found: list[str], disks: dict[str, Any]) -> None:
    overlays.refuse_left_behind(vms(**disks), {"web1": found})


def test_two_overlays_for_one_disk_are_for_a_person_to_choose_from() -> None:
    found = [name_of("root"), name_of("system")]
    assert "both overlays exist" in refusal(found, system={**GOLDEN, "renamed_from": "root"})


def test_the_unit_takes_the_overlay_along_and_replaces_none() -> None:
    one = plan({"disks": {"system": {**GOLDEN, "renamed_from": "root"}}, "accel": "tcg"})
    commands = [command.argv for command in one.services[-1].before]
    (moved,) = [argv for argv in commands if argv[0] == "/bin/mv" and argv[2].rpartition("/")[2].startswith("root-")]
    assert moved[1] == "--no-clobber"
    assert moved[3].rpartition("/")[2] == name_of("system")
    assert commands.index(moved) < next(number for number, argv in enumerate(commands) if "create" in argv)


@pytest.mark.parametrize(
    ("disk", "message"),
    [
        ({"system": {**GOLDEN, "renamed_from": "system"}}, "system is declared, too"),
        ({"root": GOLDEN, "system": {**GOLDEN, "renamed_from": "root"}}, "root is declared, too"),
        ({"system": {"nbd": {"host": "h"}, "renamed_from": "root"}}, "requires writes: overlay"),
    ],
)
def test_a_former_name_that_cannot_be(disk: dict[str, Any], message: str) -> None:
    with pytest.raises(DirectDiskError, match=message):
        vms(**disk)


def test_an_overlay_that_is_no_longer_used_is_told_of_when_its_vm_changes() -> None:
    found = {"web1": [name_of("root", OTHER), name_of("data")]}
    one = vms(root=GOLDEN)
    assert list(overlays.warnings(one, found, {"web1"})) == [
        "vm web1: no disk uses the overlay of disk data any more; the guest's writes are kept in "
        f"/var/lib/qemu-vm-web1/{name_of('data')}",
        "disk root of web1: begins with an empty overlay on its new storage; the guest's writes are kept in "
        f"/var/lib/qemu-vm-web1/{name_of('root', OTHER)}",
    ]
    assert list(overlays.warnings(one, found, set())) == []
    assert list(overlays.warnings(one, {"web1": [name_of("root")]}, {"web1"})) == []
