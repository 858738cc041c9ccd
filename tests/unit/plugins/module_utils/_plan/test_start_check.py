# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What QEMU may open, and what its start compares with that."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.directdisk.qemu.tests.unit.support import NBD, disk_of, nodes_of, plan

QCOW2: dict[str, Any] = {**NBD, "format": "qcow2"}
BACKING = {"file": "base.raw", "format": "raw"}


@pytest.mark.parametrize("writes", ["keep", "overlay", "discard", "deny"])
def test_no_header_opens_a_backing_file(writes: str) -> None:
    one = plan(disk_of(QCOW2, writes=writes))
    assert [node["backing"] for node in nodes_of(one) if node["node-name"] == "root.format"] == [None]
    overlays = ["root.overlay"] if writes in ("overlay", "discard") else []
    assert one.services[-1].start_check == {"images": {"root.format": None}, "overlays": overlays, "run": True}


def test_a_declared_backing_file_is_opened_and_compared() -> None:
    one = plan(disk_of(QCOW2, provision={"backing": BACKING}))
    assert ["backing" in node for node in nodes_of(one)] == [False, False]
    assert one.services[-1].start_check["images"] == {"root.format": BACKING}


def test_no_guest_runs_before_its_images_have_been_compared() -> None:
    one = plan(disk_of(NBD))
    assert ("-S",) in one.services[-1].args
    assert one.services[-1].start_check["images"] == {"root.format": None}


@pytest.mark.parametrize("arguments", [["-S"], ["-incoming", "defer"], ["--S"]])
def test_a_guest_that_somebody_else_lets_run_is_only_compared(arguments: list[str]) -> None:
    one = plan({**disk_of(NBD), "extra_args": arguments})
    assert one.services[-1].start_check["run"] is False
