# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""QEMU gets devices that it accepts."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.directdisk.qemu.tests.unit.support import NBD, disk_of, plan


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ({"logical_block_size": 4096}, "logical_block_size=4096,physical_block_size=4096"),
        ({"logical_block_size": 512, "physical_block_size": 4096}, "logical_block_size=512,physical_block_size=4096"),
        ({}, ""),
    ],
)
def test_sectors_are_not_larger_than_those_that_the_guest_should_align_to(sizes: dict[str, Any], expected: str) -> None:
    words = [word for argument in plan(disk_of(NBD, **sizes)).services[-1].args for word in argument]
    device = next(word for word in words if word.startswith("virtio-blk-pci"))
    assert expected in device
    assert ("block_size" in device) == bool(expected)


@pytest.mark.parametrize(
    "options", [{"model": "virtio-scsi"}, *({"model": "cdrom", "bus": b} for b in ("virtio-scsi", "usb"))]
)
def test_a_long_serial_number_is_not_the_id_of_a_scsi_device(options: dict[str, Any]) -> None:
    words = [w for argument in plan(disk_of(NBD, serial="s" * 36, **options)).services[-1].args for w in argument]
    assert f"device_id={'s' * 20}" in next(word for word in words if f"serial={'s' * 36}" in word)
