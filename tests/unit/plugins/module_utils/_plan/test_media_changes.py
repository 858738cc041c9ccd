# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The media in the CD drives of a running VM, from its command line, its plan and what its monitor tells."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._plan.changes import digest
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.live_media import empty_drive, without_medium
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.running_parts import parts_of
from ansible_collections.directdisk.qemu.plugins.module_utils._programs.unit_record import kept_settings
from ansible_collections.directdisk.qemu.tests.unit.plugins.module_utils._plan.test_live import (
    NFS,
    UNIT,
    WITH_TRUST,
    argv_of,
    decided,
    disks,
    process,
)

EMPTY: dict[str, Any] = {"model": "cdrom"}
CD: dict[str, Any] = {**EMPTY, "nfs": {**NFS["nfs"], "path": "/a.iso"}}
OTHER: dict[str, Any] = {**EMPTY, "nfs": {**NFS["nfs"], "path": "/b.iso"}}
SERVED: dict[str, Any] = {**EMPTY, "https": {"url": "https://192.0.2.7/a.iso"}, "route": "nbdkit"}
LATER = {key: value for key, value in WITH_TRUST.items() if key != "read_only"}
EJECT, INSERT = "eject medium of disk cd0 of web1", "insert medium of disk cd0 of web1"


def media_lines(before: dict[str, Any], after: dict[str, Any], **more: Any) -> tuple[list[str], dict[str, Any]]:
    found = decided(disks(cd0=before), disks(cd0=after), **more)
    assert (found.attach, found.detach, found.limit, found.reopen) == ([], [], [], [])
    return [line for line in found.actions() if "medium" in line], found.restart_required


@pytest.mark.parametrize("bus", ["ide", "virtio-scsi", "usb"])
@pytest.mark.parametrize(
    ("before", "after", "lines"),
    [
        (EMPTY, EMPTY, []),
        (CD, CD, []),
        (EMPTY, CD, [INSERT]),
        (CD, EMPTY, [EJECT]),
        (CD, OTHER, [EJECT, INSERT]),
        (CD, {**CD, "cache": "none"}, [EJECT, INSERT]),
    ],
    ids=["empty", "the same", "inserted", "ejected", "changed", "opened in another way"],
)
def test_a_medium_changes_without_a_restart(
    bus: str, before: dict[str, Any], after: dict[str, Any], lines: list[str]
) -> None:
    assert media_lines({**before, "bus": bus}, {**after, "bus": bus}) == (lines, {})


@pytest.mark.parametrize(
    ("now", "after", "lines"),
    [
        ({"media": {"cd0": ""}}, CD, [EJECT, INSERT]),
        ({"media": {"cd0": ""}}, EMPTY, [EJECT]),
        ({"media": {"cd0": "mine"}}, CD, [EJECT, INSERT]),
        ({"nodes": ["root.storage", "root.format", "cd0.storage"], "media": {"cd0": ""}}, CD, [EJECT, INSERT]),
    ],
    ids=["taken out", "taken out, as it is declared now", "another one", "a part of it is left"],
)
def test_a_medium_that_somebody_has_changed_is_changed_back(
    now: dict[str, Any], after: dict[str, Any], lines: list[str]
) -> None:
    assert media_lines(CD, after, process=now) == (lines, {})


def test_a_medium_put_into_an_empty_drive_by_hand_is_ejected() -> None:
    assert media_lines(EMPTY, EMPTY, process={"media": {"cd0": "mine"}}) == ([EJECT], {})


def test_a_drive_whose_medium_was_ejected_by_an_earlier_run_is_empty() -> None:
    drive = without_medium(parts_of(argv_of(**disks(cd0=CD))).disks["cd0"])
    now = {"disks": {"cd0": empty_drive(drive)}, "nodes": ["root.storage", "root.format"], "media": {"cd0": ""}}
    assert media_lines(CD, EMPTY, process=now) == ([], {})
    assert media_lines(CD, OTHER, process=now) == ([INSERT], {})


def test_a_medium_that_qemu_cannot_be_given_waits_for_a_restart() -> None:
    lines, required = media_lines(CD, {**EMPTY, **LATER})
    assert lines == []
    assert required["web1"] == [
        "disk cd0 has another medium: QEMU sees its files and sockets only from its start on",
    ]


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        (disks(), disks(cd0=EMPTY), "disk cd0 is new: an ide disk cannot be plugged while the VM runs"),
        (disks(cd0=EMPTY), disks(), "disk cd0 is not declared any more: an ide disk cannot be plugged while the VM "),
        (disks(cd0=CD), disks(cd0={**CD, "serial": "x"}), "disk cd0 has other properties in the guest"),
        (disks(cd0=CD), disks(cd0={**CD, "bus": "virtio-scsi"}), "disk cd0 has other properties in the guest"),
    ],
    ids=["a new drive", "a drive that is gone", "another serial", "another bus"],
)
def test_the_drive_itself_waits_for_a_restart(before: dict[str, Any], after: dict[str, Any], reason: str) -> None:
    found = decided(before, after)
    assert any(one.startswith(reason) for one in found.restart_required["web1"])
    assert (found.eject, found.insert) == ([], [])


@pytest.mark.parametrize("drive", [EMPTY, CD], ids=["empty", "with a medium"])
def test_a_scsi_drive_is_plugged_and_unplugged(drive: dict[str, Any]) -> None:
    scsi = {**drive, "bus": "virtio-scsi"}
    disk: dict[str, Any] = {**NFS, "model": "virtio-scsi"}
    assert decided(disks(data=disk), disks(data=disk, cd0=scsi)).attach == [("web1", "cd0")]
    assert decided(disks(data=disk, cd0=scsi), disks(data=disk)).detach == [("web1", "cd0")]


def test_what_extra_args_have_is_no_drive_of_the_declaration() -> None:
    extra = {"extra_args": ["-device", "ide-cd,id=mine"]}
    assert set(parts_of(argv_of(**disks(cd0=EMPTY), **extra)).disks) == {"root", "cd0"}
    assert decided(disks(), {**disks(), **extra}).restart_required == {"web1": ["-device has changed"]}


HELPER = "qemu-vm-web1.cd0.nbdkit.service"


@pytest.mark.parametrize(("text", "lines"), [("old", []), ("new", [EJECT, INSERT])], ids=["the same", "another url"])
def test_a_medium_that_a_helper_serves_is_known_by_its_helper(text: str, lines: list[str]) -> None:
    """QEMU's part of it is the same for every image."""
    path = f"/etc/systemd/system/{HELPER}"
    started_from = {UNIT: kept_settings(UNIT, "User=a"), HELPER: {path: digest("old")}}
    helper = {"active": "active", "drop_ins": {}}
    found = decided(
        disks(cd0=SERVED),
        disks(cd0=SERVED),
        units=[UNIT, HELPER],
        credentials={UNIT: [], HELPER: []},
        state={"started_from": started_from},
        more_units={HELPER: helper},
        more_files={path: {"text": text, "mode": 0o644}},
    )
    assert [line for line in found.actions() if "medium" in line] == lines
    assert found.restart_required == {}


def test_a_process_tells_which_drives_are_empty() -> None:
    assert process(argv_of(**disks(cd0=EMPTY)))["media"] == {"root": "root.format", "cd0": ""}
