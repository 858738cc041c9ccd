# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The PCI places of a VM's devices. Pure.

Guests name network interfaces by their places (enp1s0 is on bus 1). So the place of a device does not depend on devices
of another kind, and a device keeps the place that it has in the unit on the host: a disk that was added while the VM
ran is at the same place after a restart.

Nothing can be plugged into the root bus of a q35 while the VM runs, so disks and networks sit behind PCI Express ports.
The ports of networks come first: their bus numbers do not depend on disks. On a pc, disks take slots of the root bus
upwards and networks downwards.
"""

from __future__ import annotations

import functools
import re
from collections import defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass

from ansible_collections.directdisk.qemu.plugins.module_utils._backends.values import Values
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.boards import family
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Drive
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.schema import PASSTHROUGH
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError

_SLOTS = {
    # 0x1d: the USB controllers of the chipset (-usb); 0x1f: its ISA bridge and AHCI.
    "q35": (*range(0x01, 0x1D), 0x1E),
    # 0x01: the ISA bridge and IDE.
    "pc": tuple(range(0x02, 0x20)),
}
_FUNCTIONS = 8
"""Functions of a slot; each may be a port."""
_NETWORK_SLOTS, _DISK_SLOTS = 2, 4
"""Slots of a q35 for the ports of networks, and for those of disks."""
_SPARE_FOR_NETWORKS = 2
"""Free ports of a q35 for networks that are added while the VM runs, if there are any for disks."""
_ALWAYS = 3
"""Slots for the screen, the USB controller and the seed."""
_SCSI = ("virtio-scsi", *PASSTHROUGH)
_TARGETS = 256
"""Targets of a virtio-scsi controller."""
_ROOT_BUSES = ("", "pci.0", "pcie.0")
_ADDRESS = re.compile(r'(?:^|[,{\s])"?addr"?\s*[=:]\s*"?(?:0x)?([0-9a-fA-F]{1,2})\b')
_BUS = re.compile(r'(?:^|[,{\s])"?bus"?\s*[=:]\s*"?([^,"}]*)')
_PCI_DEVICE = re.compile(
    r'^(?:\{.*"driver"\s*:\s*")?([\w-]+-(?:pci|vga)|VGA|qxl|nvme|e1000e?|rtl8139|pcie-root-port|pci-bridge)\b'
)
"""Devices that certainly take a slot."""
_PORT = "machine.port"
AGENT_CONTROLLER = "machine.agent-serial"
"""Id of the controller of the guest agent's port."""
MEMORY_DEVICE = "machine.virtio-mem"
"""Id of the device that gives the guest memory while it runs."""
_SINGLE = {AGENT_CONTROLLER: "guest_agent", MEMORY_DEVICE: "memory_max"}
"""Options by the devices of which a VM has one at most. They come last, so that no other device moves for them."""
_SHARED_CONTROLLER = "machine.scsi"
_SCSI_PLACE = re.compile(r"bus=(.+)\.0,scsi-id=(\d+)")


@dataclass(frozen=True)
class RootPort:
    """A PCI Express port of a q35, for one device."""

    number: int
    slot: int
    function: int

    @property
    def argument(self) -> str:
        """Return its ``-device`` value."""
        several = ",multifunction=on" if not self.function else ""
        address = f"addr={self.slot:#04x}.{self.function}{several}"
        return f"pcie-root-port,id={_PORT}{self.number},bus=pcie.0,{address},chassis={self.number}"

    @functools.cached_property
    def place(self) -> str:
        """The place of a device behind it."""
        return f"bus={_PORT}{self.number}"


@dataclass(frozen=True)
class ScsiController:
    """A virtio-scsi controller, which disks with equal settings share; a disk with an I/O thread has its own."""

    id: str
    queues: int | None
    iothread: str
    place: str


@dataclass(frozen=True)
class PciPlaces:
    """The places of a VM's devices, as their options bus, addr and scsi-id."""

    ports: tuple[RootPort, ...]
    screen: str
    usb: str
    seed: str
    agent: str
    """Empty without a port for the guest agent."""
    memory: str
    """Empty without memory_max."""
    controllers: tuple[ScsiController, ...]
    disks: Mapping[str, str]
    """By disk; disks on an IDE or USB bus are not in it."""
    networks: Mapping[str, str]
    """By network."""


def is_port(device: str) -> bool:
    """Return if a device is one of the ports."""
    return device.startswith(_PORT)


def is_own_id(device: str, disks: Container[str], networks: Container[str]) -> bool:
    """Return if a VM with these disks and networks may give a device of its own this id."""
    owner, _dot, part = device.partition(".")
    if owner == "machine":
        return bool(part)
    return (
        device in disks
        or (owner in disks and part.startswith(("scsi", "usb")))
        or (owner in networks and part == "nic")
    )


def is_shared_controller(device: str) -> bool:
    """Return if a device is a SCSI controller that disks can share."""
    return device.startswith(_SHARED_CONTROLLER)


def nic_id(network: str) -> str:
    """Return the id of a network's device."""
    return f"{network}.nic"


def pci_places(
    settings: Values, disks: Sequence[Drive], networks: Sequence[str], kept: Mapping[str, str] | None = None
) -> PciPlaces:
    """Return the places of a VM's devices; raise DeclarationError if it has too few.

    networks: their names; kept: the places of devices and ports that the VM has on the host, by their ids.
    """
    kept = kept or {}
    scsi = _scsi_places(disks, kept)
    # The PCI devices of disks: the disk itself or its controller.
    device_of = {
        disk.name: scsi[disk.name][0] if disk.name in scsi else disk.name
        for disk in disks
        if disk.attachment in ("virtio-blk", "nvme", *_SCSI)
    }
    needs = _Needs(
        list(dict.fromkeys(device_of.values())),
        [nic_id(network) for network in networks],
        _devices(settings.get("extra_args", ())),
        sum(
            (
                "vnc" in settings,
                bool(settings.get("cloud_init")),
                any(disk.attachment == "usb" for disk in disks),
            )
        ),
        [device for device, option in _SINGLE.items() if settings.get(option)],
    )
    board_family = family(settings["machine"])
    slots = _free_slots(board_family, settings.get("extra_args", ()))
    board = (
        _q35(slots, needs, kept, spare=settings["hotplug_ports"]) if board_family == "q35" else _pc(slots, needs, kept)
    )
    return PciPlaces(
        board.ports,
        *board.always,
        agent=board.single.get(AGENT_CONTROLLER, ""),
        memory=board.single.get(MEMORY_DEVICE, ""),
        controllers=tuple(_controllers(disks, device_of, board.places)),
        disks={
            disk: f"bus={scsi[disk][0]}.0,scsi-id={scsi[disk][1]}" if disk in scsi else board.places[device]
            for disk, device in device_of.items()
        },
        networks={network: board.places[nic_id(network)] for network in networks},
    )


@dataclass(frozen=True)
class _Needs:
    """The devices that need places."""

    disks: Sequence[str]
    """Ids of disks and controllers."""
    networks: Sequence[str]
    extra: Sequence[str]
    """Devices of extra_args."""
    always: int
    """Number of screens, USB controllers and seeds that the VM has."""
    single: Sequence[str]
    """Ids of the devices of which a VM has one at most."""

    @property
    def extra_slots(self) -> int:
        """Return the number of slots of the root bus that extra_args take beside those that are reserved and unused."""
        return max(sum(map(_takes_free_slot, self.extra)) - (_ALWAYS - self.always), 0)


@dataclass(frozen=True)
class _Board:
    """The places on one kind of board, by the ids of devices."""

    ports: tuple[RootPort, ...]
    always: tuple[str, str, str]
    """Places of the screen, the USB controller and the seed."""
    single: Mapping[str, str]
    places: Mapping[str, str]


def _slot(slot: int) -> str:
    return f"addr={slot:#04x}"


def _q35(slots: Sequence[int], needs: _Needs, kept: Mapping[str, str], *, spare: int) -> _Board:
    always, rest = slots[:_ALWAYS], slots[_ALWAYS:]
    all_ports = _ports_in(tuple(rest[: _NETWORK_SLOTS + _DISK_SLOTS]))
    for_networks = all_ports[: _NETWORK_SLOTS * _FUNCTIONS]
    for_disks = all_ports[len(for_networks) :]
    for ids, ports, what, advice in (
        (needs.disks, for_disks, "disks", "; disks with model: virtio-scsi share one"),
        (needs.networks, for_networks, "networks", ""),
    ):
        if len(ids) > len(ports):
            raise DeclarationError(
                "", f"its {what} need {len(ids)} PCI Express ports, and a q35 has {len(ports)} for them{advice}"
            )
    left = len(rest) - _NETWORK_SLOTS - _DISK_SLOTS - len(needs.single)
    if needs.extra_slots > left:
        raise DeclarationError(
            "extra_args", f"its devices need {needs.extra_slots} PCI slots, and a q35 has {left} for them"
        )
    networks, network_ports = _on_ports(needs.networks, for_networks, kept, min(spare, _SPARE_FOR_NETWORKS))
    disks, disk_ports = _on_ports(needs.disks, for_disks, kept, spare)
    screen, usb, seed = map(_slot, always)
    # From the end: QEMU gives the devices of extra_args the first free slots.
    last = dict(zip(_SINGLE, map(_slot, reversed(slots))))
    single = {device: last[device] for device in needs.single}
    return _Board((*network_ports, *disk_ports), (screen, usb, seed), single, {**networks, **disks})


@functools.lru_cache(maxsize=16)  # the VMs of a fleet have few kinds of boards
def _ports_in(slots: tuple[int, ...]) -> tuple[RootPort, ...]:
    places = ((slot, function) for slot in slots for function in range(_FUNCTIONS))
    return tuple(RootPort(number, slot, function) for number, (slot, function) in enumerate(places, 1))


def _on_ports(
    ids: Sequence[str], ports: Sequence[RootPort], kept: Mapping[str, str], spare: int
) -> tuple[dict[str, str], Sequence[RootPort]]:
    """Return the places of devices, and the ports that the VM has: those of before, if they are enough.

    It is not known how many of those were to be free: not so many if the VM has fewer in all.
    """
    if not kept:
        return {one: port.place for one, port in zip(ids, ports)}, ports[: len(ids) + spare]
    places = _assign(ids, [port.place for port in ports], kept)
    used = set(places.values())
    needed = max((number for number, port in enumerate(ports, 1) if port.place in used), default=0)
    before = sum(f"{_PORT}{port.number}" in kept for port in ports)
    return places, ports[: before if before >= max(needed, spare, 1) else needed + spare]


def _pc(slots: Sequence[int], needs: _Needs, kept: Mapping[str, str]) -> _Board:
    middle = [_slot(slot) for slot in slots[2:-1]]
    if len(needs.disks) + len(needs.networks) + len(needs.single) + needs.extra_slots > len(middle):
        extra = sum(map(_takes_free_slot, needs.extra))
        parts = (
            (len(needs.disks), "disks"),
            (len(needs.networks), "networks"),
            *((1, _SINGLE[device]) for device in needs.single),
            (extra, "extra_args"),
        )
        counted = " and ".join(f"{number} for {what}" for number, what in parts if number)
        advice = "; disks with model: virtio-scsi share one slot" if len(needs.disks) > 1 else ""
        raise DeclarationError(
            "", f"its devices need PCI slots ({counted}), and a pc has {len(middle)} for them{advice}"
        )
    single_before = _kept_places(needs.single, middle, kept).values()
    disks_before = _kept_places(needs.disks, middle, kept).values()
    networks = _assign(needs.networks, middle[::-1], kept, reserved=(*disks_before, *single_before))
    disks = _assign(needs.disks, middle, kept, reserved=(*networks.values(), *single_before))
    # Those of which there is one come between the two.
    half = len(middle) // 2
    taken = (*networks.values(), *disks.values())
    single = _assign(needs.single, (*middle[half:], *middle[:half]), kept, reserved=taken)
    always = (_slot(slots[0]), _slot(slots[1]), _slot(slots[-1]))
    return _Board((), always, single, {**networks, **disks})


def _kept_places(ids: Iterable[str], places: Sequence[str], kept: Mapping[str, str]) -> dict[str, str]:
    """Return the places that devices keep; no two have the same."""
    stay = {kept[one]: one for one in ids if kept.get(one) in places}
    return {one: place for place, one in stay.items()}


def _assign(
    ids: Sequence[str], places: Sequence[str], kept: Mapping[str, str], reserved: Iterable[str] = ()
) -> dict[str, str]:
    """Return a place for each device: the one that it has, or else the first free one."""
    stay = _kept_places(ids, places, kept)
    taken = {*stay.values(), *reserved}
    free = (place for place in places if place not in taken)
    return {one: stay[one] if one in stay else next(free) for one in ids}


def _scsi_places(disks: Sequence[Drive], kept: Mapping[str, str]) -> dict[str, tuple[str, int]]:
    """Return the controller's id and the target of each SCSI disk."""
    members = [disk for disk in disks if disk.attachment in _SCSI]
    taken: dict[str, set[int]] = defaultdict(set)
    stay: dict[str, tuple[str, int]] = {}
    for disk in members:
        match = _SCSI_PLACE.fullmatch(kept.get(disk.name, ""))
        if match and _is_controller_of(disk, match[1]) and int(match[2]) not in taken[match[1]]:
            stay[disk.name] = (match[1], int(match[2]))
            taken[match[1]].add(int(match[2]))
    for disk in members:
        number = 0
        while disk.name not in stay:
            controller = f"{_controller_prefix(disk)}{number}"
            free = next((target for target in range(_TARGETS) if target not in taken[controller]), None)
            if free is not None:
                stay[disk.name] = (controller, free)
                taken[controller].add(free)
            number += 1
    return stay


def _controller_prefix(disk: Drive) -> str:
    return (
        f"{disk.name}.scsi" if disk.settings["iothread"] else f"{_SHARED_CONTROLLER}{disk.settings.get('queues', '')}-"
    )


def _is_controller_of(disk: Drive, controller: str) -> bool:
    prefix = _controller_prefix(disk)
    return controller.startswith(prefix) and controller[len(prefix) :].isdecimal()


def _controllers(
    disks: Iterable[Drive], device_of: Mapping[str, str], places: Mapping[str, str]
) -> Iterable[ScsiController]:
    """Return the controllers, with the settings that their disks have in common."""
    known: dict[str, ScsiController] = {}
    for disk in disks:
        if disk.attachment in _SCSI:
            controller = device_of[disk.name]
            thread = f"{disk.name}.iothread" if disk.settings["iothread"] else ""
            known[controller] = ScsiController(controller, disk.settings.get("queues"), thread, places[controller])
    return known.values()


def _free_slots(machine: str, extra_args: Sequence[str]) -> tuple[int, ...]:
    """Return the slots that extra_args leave free."""
    taken = {
        int(match[1], 16)
        for device in _devices(extra_args)
        for match in (_ADDRESS.search(device),)
        if match and _bus(device) in _ROOT_BUSES
    }
    free = [slot for slot in _SLOTS[machine] if slot not in taken]
    # The board creates these before all devices, each in the first free slot.
    return tuple(free[sum(_is_of_board(*pair) for pair in zip(extra_args, extra_args[1:])) :])


def _is_of_board(option: str, value: str) -> bool:
    name = option.lstrip("-") if option.startswith("-") else ""
    return (
        (name == "vga" and value != "none")
        or (name == "nic" and value != "none")
        or (name == "net" and value.startswith("nic"))
    )


def _devices(extra_args: Sequence[str]) -> list[str]:
    """Return the values of ``-device`` among further arguments."""
    return [value for option, value in zip(extra_args, extra_args[1:]) if option in ("-device", "--device")]


def _bus(device: str) -> str:
    match = _BUS.search(device)
    return match[1] if match else ""


def _takes_free_slot(device: str) -> bool:
    """Return if QEMU looks for a free slot for a device."""
    return bool(_PCI_DEVICE.match(device)) and not _ADDRESS.search(device) and _bus(device) in _ROOT_BUSES
