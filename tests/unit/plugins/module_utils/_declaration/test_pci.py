# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The PCI slots of a VM: they stay when other devices come, and too many devices are refused."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import Any

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.pci import pci_places
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.blockdev import Graph
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.command_line import build_argv
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.plan import make_plan
from ansible_collections.directdisk.qemu.tests.unit.support import NBD, capabilities, errors_of, vm

EMULATOR = shutil.which("qemu-system-x86_64") or ""
LAN = {"lan": {"user": True}}


def disks(count: int, prefix: str = "d", **settings: Any) -> dict[str, Any]:
    """Disks that are different storage."""
    names = [f"{prefix}{number}" for number in range(count)]
    return {name: {**NBD, "nbd": {"host": "192.0.2.5", "export": name}, **settings} for name in names}


def network_slots(**declared: Any) -> list[str]:
    """The addresses of the network devices on a command line."""
    plan = make_plan(vm({"accel": "tcg", "networks": LAN, **declared}), capabilities())
    line = " ".join(word for group in plan.services[-1].args for word in group)
    return re.findall(r"virtio-net-pci,addr=(0x\w+)", line)


@pytest.mark.parametrize(
    "declared",
    [
        {"disks": disks(2)},
        {"disks": disks(2, model="virtio-scsi", iothread=True)},
        {"disks": disks(2, model="nvme")},
        {"disks": disks(2, model="usb")},
        {"disks": disks(2, model="ide")},
        {"cloud_init": {"user_data": "x"}},
        {"vnc": {}},
        {"disks": disks(9), "cloud_init": {"user_data": "x"}, "vnc": {}},
        {"networks": {**LAN, "second": {"user": True}}},
        {"extra_args": ["-device", "virtio-rng-pci"]},
    ],
    ids=str,
)
@pytest.mark.parametrize("machine", ["q35", "pc"])
def test_a_network_keeps_its_slot_when_other_devices_come(declared: dict[str, Any], machine: str) -> None:
    alone = network_slots(machine=machine)
    assert network_slots(machine=machine, **declared)[:1] == alone != []


def test_the_slot_of_a_disk_does_not_depend_on_later_ones_or_on_other_devices() -> None:
    few = vm({"disks": disks(3)})
    many = vm({"disks": disks(9), "networks": LAN, "vnc": {}, "cloud_init": {"user_data": "x"}})
    slots = pci_places(few.settings, few.disks, 0).disks
    assert slots.items() <= pci_places(many.settings, many.disks, 1).disks.items()


@pytest.mark.parametrize(
    ("declared", "error"),
    [
        (
            {"disks": disks(40)},
            "hv1: vm web1: its devices need PCI slots (40 for disks), and a q35 has 26 for them; disks with "
            "model: virtio-scsi share one slot",
        ),
        (
            {"disks": disks(40, model="virtio-scsi", iothread=True), "networks": LAN, "machine": "pc"},
            "hv1: vm web1: its devices need PCI slots (40 for disks and 1 for networks), and a pc has 27 for them; "
            "disks with model: virtio-scsi share one slot",
        ),
        (
            {"networks": {f"n{number}": {"user": True} for number in range(30)}},
            "hv1: vm web1: its devices need PCI slots (30 for networks), and a q35 has 26 for them",
        ),
        (
            {"disks": disks(25), "extra_args": ["-device", "virtio-rng-pci"] * 5},
            "hv1: vm web1: its devices need PCI slots (25 for disks and 5 for extra_args), and a q35 has 26 for them; "
            "disks with model: virtio-scsi share one slot",
        ),
    ],
    ids=["disks", "controllers of I/O threads", "networks", "extra_args"],
)
def test_more_devices_than_slots_are_refused(declared: dict[str, Any], error: str) -> None:
    assert errors_of({"web1": declared}) == [error]


def test_scsi_disks_with_equal_settings_share_a_controller() -> None:
    declared = {**disks(300, model="virtio-scsi"), "q": {**NBD, "model": "virtio-scsi", "queues": 2}}
    one = vm({"disks": declared})
    places = pci_places(one.settings, one.disks, 0)
    assert [controller.queues for controller in places.controllers] == [None, None, 2]
    assert (places.scsi["d255"].target, places.scsi["d256"].target) == (255, 0)
    assert len({(place.controller.id, place.target) for place in places.scsi.values()}) == 301


def test_slots_that_extra_args_name_are_left_to_them() -> None:
    extra = ["-device", "pci-bridge,id=b,chassis_nr=1,bus=pcie.0,addr=0x3", "-device", '{"driver":"x","addr":"0x4.1"}']
    one = vm({"disks": disks(2), "extra_args": [*extra, "-device", "virtio-rng-pci,bus=b,addr=0x5"]})
    assert list(pci_places(one.settings, one.disks, 0).disks.values()) == [0x5, 0x6]


def test_a_serial_may_not_be_the_name_of_another_disk() -> None:
    declared = disks(2)
    declared["d1"]["serial"] = "d0"
    assert errors_of({"web1": {"disks": declared}}) == ["hv1: disk d1 of web1: serial: 'd0' is also that of disk d0"]


@pytest.mark.skipif(not EMULATOR, reason="QEMU's system emulator is not installed")
@pytest.mark.parametrize("machine", ["q35", "pc"])
@pytest.mark.parametrize(
    "declared",
    [
        {"disks": disks(23)},
        {"disks": disks(200, model="virtio-scsi")},
        {"disks": {**disks(4, model="ide"), **disks(15, "u", model="usb")}},
        {
            "disks": disks(15, model="nvme"),
            "extra_args": ["-vga", "std", "-usb", "-device", "usb-tablet", "-nic", "user"],
        },
        {"disks": disks(21), "extra_args": ["-device", "virtio-rng-pci"] * 3},
        {
            "disks": disks(3),
            "extra_args": ["-device", "virtio-rng-pci,addr=0x4", "-device", "virtio-rng-pci,addr=0x1e"],
        },
    ],
    ids=["blk", "scsi", "ide and usb", "devices of the board", "extra_args", "addresses"],
)
def test_the_installed_qemu_starts_with_these_slots(machine: str, declared: dict[str, Any]) -> None:
    one = vm({"accel": "tcg", "machine": machine, "networks": LAN, "console": False, "vnc": {}, **declared})
    graphs = []
    for disk in one.disks:
        node = f"{disk.name}.null"
        graphs.append((disk, Graph(({"driver": "null-co", "node-name": node},), node, node)))
    groups = build_argv(
        one, binary=EMULATOR, graphs=graphs, objects=[], firmware=None, taps={}, seed_directory="", vnc_secret=""
    )
    argv = [word for group in groups if group[0] not in ("-chardev", "-mon", "-vnc", "-sandbox") for word in group]
    done = subprocess.run(
        [*argv, "-display", "none", "-qmp", "stdio"],
        input='{"execute": "qmp_capabilities"}\n{"execute": "quit"}\n',
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
