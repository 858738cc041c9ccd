# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The PCI places of a VM: they stay when other devices come, and too many devices are refused."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import Any

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.pci import (
    AGENT_CONTROLLER,
    MEMORY_DEVICE,
    PciPlaces,
    is_own_id,
    pci_places,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.vm import Vm
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.blockdev import Graph
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.command_line import build_argv
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.plan import make_plan
from ansible_collections.directdisk.qemu.plugins.module_utils._units.unit_text import places_in
from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run.render import render_service
from ansible_collections.directdisk.qemu.tests.unit.support import NBD, capabilities, errors_of, vm

EMULATOR = shutil.which("qemu-system-x86_64") or ""
LAN = {"lan": {"user": True}}


def disks(count: int, prefix: str = "d", **settings: Any) -> dict[str, Any]:
    """Disks that are different storage."""
    names = [f"{prefix}{number}" for number in range(count)]
    return {name: {**NBD, "nbd": {"host": "192.0.2.5", "export": name}, **settings} for name in names}


def places_of(one: Vm, kept: dict[str, str] | None = None) -> PciPlaces:
    return pci_places(one.settings, one.disks, [network.name for network in one.networks], kept)


def network_places(**declared: Any) -> list[str]:
    """The places of the network devices on a command line."""
    plan = make_plan(vm({"accel": "tcg", "networks": LAN, **declared}), capabilities())
    line = " ".join(word for group in plan.services[-1].args for word in group)
    return re.findall(r"virtio-net-pci,([^,]+)", line)


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
        {"guest_agent": True},
        {"disks": disks(9), "cloud_init": {"user_data": "x"}, "vnc": {}},
        {"networks": {**LAN, "second": {"user": True}}},
        {"extra_args": ["-device", "virtio-rng-pci"]},
    ],
    ids=str,
)
@pytest.mark.parametrize("machine", ["q35", "pc"])
def test_a_network_keeps_its_place_when_other_devices_come(declared: dict[str, Any], machine: str) -> None:
    alone = network_places(machine=machine)
    assert network_places(machine=machine, **declared)[:1] == alone != []


@pytest.mark.parametrize("machine", ["q35", "pc"])
def test_the_place_of_a_disk_does_not_depend_on_later_ones_or_on_other_devices(machine: str) -> None:
    few = vm({"machine": machine, "disks": disks(3)})
    many = vm(
        {"machine": machine, "disks": disks(9), "networks": LAN, "vnc": {}, "cloud_init": {"user_data": "x"}},
    )
    assert places_of(few).disks.items() <= places_of(many).disks.items()


@pytest.mark.parametrize("machine", ["q35", "pc"])
@pytest.mark.parametrize(
    ("option", "part", "device"),
    [({"guest_agent": True}, "agent", AGENT_CONTROLLER), ({"memory_max": "2GiB"}, "memory", MEMORY_DEVICE)],
    ids=["guest agent", "memory"],
)
def test_no_device_moves_for_the_guest_agent_or_memory_and_they_keep_their_places(
    machine: str, option: dict[str, Any], part: str, device: str
) -> None:
    without = vm({"machine": machine, "disks": disks(3), "networks": LAN})
    declared = {"machine": machine, **option, "networks": LAN}
    single = places_of(vm({**declared, "disks": disks(3)}))
    place = getattr(single, part)
    before = places_of(without)
    assert (single.disks, single.networks, getattr(before, part)) == (before.disks, before.networks, "")
    many = disks(15 if machine == "pc" else 20)
    moved = getattr(places_of(vm({**declared, "disks": many})), part)
    assert moved == (place if machine == "q35" else "addr=0x13")
    after = places_of(vm({**declared, "disks": many}), {device: place})
    assert getattr(after, part) == place
    assert place not in (*after.disks.values(), *after.networks.values())


@pytest.mark.parametrize("machine", ["q35", "pc"])
def test_guest_agent_and_memory_do_not_move_each_other(machine: str) -> None:
    agent = places_of(vm({"machine": machine, "guest_agent": True}))
    both = vm({"machine": machine, "guest_agent": True, "memory_max": "2GiB"})
    after = places_of(both, {AGENT_CONTROLLER: agent.agent})
    assert after.agent == agent.agent != after.memory
    assert places_of(both, {MEMORY_DEVICE: after.memory}).memory == after.memory


def test_the_guest_agent_needs_a_slot_of_a_pc() -> None:
    full = {"machine": "pc", "disks": disks(27)}
    vm(full)
    assert errors_of({"web1": {**full, "guest_agent": True}}) == [
        "hv1: vm web1: its devices need PCI slots (27 for disks and 1 for guest_agent), and a pc has 27 for them"
        "; disks with model: virtio-scsi share one slot"
    ]


def test_a_second_port_of_the_guest_agent_is_refused() -> None:
    port = ["-device", "virtserialport,chardev=x,name=org.qemu.guest_agent.0"]
    assert errors_of({"web1": {"guest_agent": True, "extra_args": port}}) == [
        "hv1: vm web1: extra_args: has the port org.qemu.guest_agent.0 of guest_agent, too"
    ]
    vm({"extra_args": port})


def test_ports_of_networks_come_first_and_there_are_spare_ones() -> None:
    one = vm({"disks": disks(2), "networks": LAN})
    ports = places_of(one).ports
    assert [port.number for port in ports] == [1, 2, 3, *range(17, 27)]
    assert ports[0].argument == "pcie-root-port,id=machine.port1,bus=pcie.0,addr=0x04.0,multifunction=on,chassis=1"
    assert ports[4].argument == "pcie-root-port,id=machine.port18,bus=pcie.0,addr=0x06.1,chassis=18"
    assert places_of(one).networks == {"lan": "bus=machine.port1"}
    none = places_of(vm({"disks": disks(2), "hotplug_ports": 0}))
    assert [port.number for port in none.ports] == [17, 18]


def unit_of(one: Vm, kept: dict[str, str] | None = None) -> dict[str, str]:
    """The places that a host reads in the unit of a VM."""
    return places_in(render_service(make_plan(one, capabilities(), kept).services[-1], encrypted=False))


@pytest.mark.parametrize("machine", ["q35", "pc"])
def test_what_was_added_and_what_stays_keep_their_places(machine: str) -> None:
    declared = {**disks(3), **disks(2, "s", model="virtio-scsi"), "t": {**NBD, "model": "virtio-scsi", "queues": 2}}
    settings = {"accel": "tcg", "machine": machine}
    before = unit_of(vm({**settings, "disks": declared, "networks": LAN}))
    left = {name: declared[name] for name in ("d2", "d0", "s1", "t")}
    changed = vm({**settings, "disks": {"new": {**NBD, "nbd": {"host": "192.0.2.9"}}, **left}, "networks": LAN})
    after = unit_of(changed, before)
    assert {name: after[name] for name in (*left, "lan.nic")} == {name: before[name] for name in (*left, "lan.nic")}
    assert after["new"] == before["d1"], "the first free place"
    assert [name for name in after if name.startswith("machine.port")] == [
        name for name in before if name.startswith("machine.port")
    ]


def test_a_running_vm_keeps_its_ports_until_they_are_too_few() -> None:
    before = unit_of(vm({"accel": "tcg", "disks": disks(2), "hotplug_ports": 1}))
    assert sorted(place for place in before if place.startswith("machine.port")) == [
        f"machine.port{number}" for number in (1, 17, 18, 19)
    ]
    for count, last in ((1, 19), (3, 19), (4, 21)):
        after = unit_of(vm({"accel": "tcg", "disks": disks(count), "hotplug_ports": 1}), before)
        assert max(int(name[len("machine.port") :]) for name in after if name.startswith("machine.port")) == last


def test_a_place_that_the_board_does_not_have_is_not_kept() -> None:
    one = vm({"machine": "pc", "disks": disks(2)})
    kept = {"d0": "bus=machine.port17", "d1": "addr=0x05"}
    assert places_of(one, kept).disks == {"d0": "addr=0x04", "d1": "addr=0x05"}
    same = {"d0": "addr=0x05", "d1": "addr=0x05"}
    assert sorted(places_of(one, same).disks.values()) == ["addr=0x04", "addr=0x05"]


@pytest.mark.parametrize(
    ("declared", "error"),
    [
        (
            {"disks": disks(40)},
            "hv1: vm web1: its disks need 40 PCI Express ports, and a q35 has 32 for them; disks with "
            "model: virtio-scsi share one",
        ),
        (
            {"disks": disks(40, model="virtio-scsi", iothread=True), "networks": LAN, "machine": "pc"},
            "hv1: vm web1: its devices need PCI slots (40 for disks and 1 for networks), and a pc has 27 for them; "
            "disks with model: virtio-scsi share one slot",
        ),
        (
            {"networks": {f"n{number}": {"user": True} for number in range(30)}},
            "hv1: vm web1: its networks need 30 PCI Express ports, and a q35 has 16 for them",
        ),
        (
            {"disks": disks(23), "extra_args": ["-device", "virtio-rng-pci"] * 8, "machine": "pc"},
            "hv1: vm web1: its devices need PCI slots (23 for disks and 8 for extra_args), and a pc has 27 for them; "
            "disks with model: virtio-scsi share one slot",
        ),
        (
            {"extra_args": ["-device", "virtio-rng-pci"] * 24},
            "hv1: vm web1: extra_args: its devices need 21 PCI slots, and a q35 has 20 for them",
        ),
    ],
    ids=["disks", "controllers of I/O threads", "networks", "extra_args", "extra_args on the root bus"],
)
def test_more_devices_than_slots_are_refused(declared: dict[str, Any], error: str) -> None:
    assert errors_of({"web1": declared}) == [error]


def test_scsi_disks_with_equal_settings_share_a_controller() -> None:
    declared = {**disks(300, model="virtio-scsi"), "q": {**NBD, "model": "virtio-scsi", "queues": 2}}
    one = vm({"disks": declared})
    places = places_of(one)
    assert [controller.queues for controller in places.controllers] == [None, None, 2]
    assert places.disks["d255"] == "bus=machine.scsi-0.0,scsi-id=255"
    assert places.disks["d256"] == "bus=machine.scsi-1.0,scsi-id=0"
    assert len(set(places.disks.values())) == 301


def test_slots_that_extra_args_name_are_left_to_them() -> None:
    extra = ["-device", "pci-bridge,id=b,chassis_nr=1,bus=pcie.0,addr=0x3", "-device", '{"driver":"x","addr":"0x4.1"}']
    extra = [*extra, "-device", "virtio-rng-pci,bus=b,addr=0x5"]
    on_pc = vm({"machine": "pc", "disks": disks(2), "extra_args": [word.replace("pcie", "pci") for word in extra]})
    assert list(places_of(on_pc).disks.values()) == ["addr=0x06", "addr=0x07"]
    on_q35 = vm({"disks": disks(2), "extra_args": extra})
    assert {port.slot for port in places_of(on_q35).ports} == {0x06, 0x08, 0x09}


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
        one,
        binary=EMULATOR,
        places=places_of(one),
        graphs=graphs,
        objects=[],
        firmware=None,
        taps={},
        seed=None,
        vnc_secret="",
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


@pytest.mark.parametrize("own", ["root", "root.scsi0", "machine.scsi-0", "machine.port3", "lan.nic"])
@pytest.mark.parametrize("foreign", ["scsi0", "rootier", "lan", "lan.scsi0", "root.nic", "machine", "other.nic"])
def test_ids_of_the_own_devices_of_a_vm_are_told_from_others(own: str, foreign: str) -> None:
    assert is_own_id(own, {"root"}, {"lan"})
    assert not is_own_id(foreign, {"root"}, {"lan"})
