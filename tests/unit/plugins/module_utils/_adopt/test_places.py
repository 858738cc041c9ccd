# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Disks are declared in the order in which the guest's firmware finds them: of one kind by their places."""

from __future__ import annotations

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.convert import convert

A, B = "-drive file=/a,format=raw,if=none,id=a", "-drive file=/b,format=raw,if=none,id=b"
SCSI = "-device virtio-scsi-pci,id=s"
PORTS = "-device pcie-root-port,id=p1,addr=0x3 -device pcie-root-port,id=p2,addr=0x2"


@pytest.mark.parametrize(
    "devices",
    [
        "-device virtio-blk-pci,drive=b -device virtio-blk-pci,drive=a",
        "-device virtio-blk-pci,drive=a,addr=0x6 -device virtio-blk-pci,drive=b,addr=0x5",
        "-device virtio-blk-pci,drive=a,addr=5.1 -device virtio-blk-pci,drive=b,addr=5.0",
        """-device '{"driver":"virtio-blk-pci","drive":"a","addr":48}' -device virtio-blk-pci,drive=b,addr=0x5""",
        f"-M q35 {PORTS} -device virtio-blk-pci,drive=a,bus=p1 -device virtio-blk-pci,drive=b,bus=p2",
        f"{SCSI} -device scsi-hd,drive=a,bus=s.0,scsi-id=1 -device scsi-hd,drive=b,bus=s.0,scsi-id=0",
        f"{SCSI} -device scsi-hd,drive=a,scsi-id=0,lun=2 -device scsi-hd,drive=b,scsi-id=0,lun=1",
        f"{SCSI} -device scsi-hd,drive=b,bus=s.0 -device scsi-hd,drive=a,bus=s.0",
        f"{SCSI},addr=6 -device virtio-scsi-pci,id=t,addr=5 -device scsi-hd,drive=a,bus=s.0 "
        "-device scsi-hd,drive=b,bus=t.0",
        "-device nvme,drive=a,serial=x,addr=7 -device nvme,drive=b,serial=y,addr=6",
    ],
)
def test_disks_of_one_kind_are_in_the_order_of_their_places(devices: str) -> None:
    assert list(convert(f"kvm {A} {B} {devices}").declaration["disks"]) == ["b", "a"]


def test_a_disk_whose_device_qemu_adds_comes_after_those_of_the_line() -> None:
    line = f"kvm -drive file=/c,format=raw,if=virtio {A} -device virtio-blk-pci,drive=a"
    assert list(convert(line).declaration["disks"]) == ["a", "disk"]


@pytest.mark.parametrize(("first", "second"), [("0x1", "0x2"), ("1000", "1001"), ("07", "010"), ("8", "0x9")])
def test_a_bootindex_is_read_as_qemu_reads_it(first: str, second: str) -> None:
    devices = f"-device virtio-blk-pci,drive=a,bootindex={second} -device virtio-blk-pci,drive=b,bootindex={first}"
    disks = convert(f"kvm {A} {B} {devices}").declaration["disks"]
    assert 0 < disks["b"]["boot_index"] < disks["a"]["boot_index"]
