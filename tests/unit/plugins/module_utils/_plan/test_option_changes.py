# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options and limits of disks of a running VM that change, from its command line and its plan."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._plan.live import (
    LiveChanges,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.live_options import known_limits
from ansible_collections.directdisk.qemu.tests.unit.plugins.module_utils._plan.test_live import (
    LIMITED,
    NFS,
    argv_of,
    changes,
    decided,
    disks,
    process,
)

DISCARDS: dict[str, Any] = {**NFS, "discard": "unmap", "detect_zeroes": "unmap"}
USB: dict[str, Any] = {**NFS, "model": "usb"}


@pytest.mark.parametrize(
    ("before", "after", "release", "expected"),
    [
        (LIMITED, NFS, (7, 2), LiveChanges(limit=("data",))),
        (NFS, LIMITED, (6, 1), "limits, and had none or has none now"),
        (USB, {**LIMITED, **USB}, (7, 2), "limits, and had none or has none now"),
        ({**LIMITED, **USB}, {**USB, "iops": {"total": 5}}, (7, 2), LiveChanges(limit=("data",))),
        (NFS, DISCARDS, (7, 2), LiveChanges(reopen=("data",))),
        (NFS, {**LIMITED, **DISCARDS}, (7, 2), LiveChanges(limit=("data",), reopen=("data",))),
        (NFS, DISCARDS, (6, 1), "discard or detect_zeroes"),
        (NFS, {**NFS, "on_error": "report"}, (7, 2), "on_error, which a device keeps"),
        (NFS, {**NFS, "on_error": "report", "serial": "x"}, (7, 2), "properties in the guest"),
        (NFS, {**DISCARDS, "cache": "none"}, (7, 2), "storage, or other options of it"),
    ],
    ids=[
        "no limits any more",
        "an old QEMU",
        "a stick gets limits",
        "a stick with limits",
        "discard",
        "both",
        "discard and an old QEMU",
        "on_error",
        "on_error and more",
        "cache",
    ],
)
def test_options_of_a_disk_change_without_a_restart_where_qemu_can(
    before: dict[str, Any], after: dict[str, Any], release: tuple[int, int], expected: LiveChanges | str
) -> None:
    found = changes(disks(data=before), disks(data=after), release=release)
    if isinstance(expected, str):
        expected = LiveChanges(restart=(f"disk data has other {expected}",))
    assert found == expected


def test_a_driver_that_cannot_reopen_a_node_is_named() -> None:
    web = {"https": {"url": "https://192.0.2.7/x"}, "route": "driver", "read_only": True}
    (reason,) = changes(disks(data=web), disks(data={**web, "discard": "unmap"})).restart
    assert reason == "disk data has other discard or detect_zeroes, which QEMU's driver https cannot change"


@pytest.mark.parametrize(
    ("limits", "nodes", "drifted"),
    [
        ({}, [], False),
        ({"data.limits": {"iops-total": 100}}, [], False),
        ({"data.limits": {"iops-total": 7}}, [], True),
        ({"data.limits": {"iops-total": 100, "bps-read": 1}}, [], True),
    ],
)
def test_limits_that_somebody_has_changed_are_changed_back(
    limits: dict[str, Any], nodes: list[str], drifted: bool
) -> None:
    now = {group: known_limits(one) for group, one in limits.items()}
    found = decided(disks(data=LIMITED), disks(data=LIMITED), process={"limits": now})
    assert found.limit == ([("web1", "data")] if drifted else [])


def test_a_filter_that_should_not_be_there_is_taken_away() -> None:
    nodes = [*process(argv_of(**disks(data=NFS)))["nodes"], "data.throttle"]
    assert decided(disks(data=NFS), disks(data=NFS), process={"nodes": nodes}).limit == [("web1", "data")]
