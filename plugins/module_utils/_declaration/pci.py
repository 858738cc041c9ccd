# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The PCI slots of a VM's devices. Pure.

Guests name network interfaces by their slots (enp0s28). So the slot of a device does not depend on devices of another
kind: disks take slots upwards, networks downwards, and the screen, the USB controller and the seed have one each,
used or not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ansible_collections.directdisk.qemu.plugins.module_utils._backends.values import Values
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.schema import PASSTHROUGH
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError

_SLOTS = {
    # 0x1d: the USB controllers of the chipset (-usb); 0x1f: its ISA bridge and AHCI.
    "q35": (*range(0x01, 0x1D), 0x1E),
    # 0x01: the ISA bridge and IDE.
    "pc": tuple(range(0x02, 0x20)),
}
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


@dataclass(frozen=True)
class ScsiController:
    """A virtio-scsi controller, which disks with equal settings share; a disk with an I/O thread has its own."""

    id: str
    queues: int | None
    iothread: str
    slot: int


@dataclass(frozen=True)
class ScsiPlace:
    """The place of a SCSI disk."""

    controller: ScsiController
    target: int


@dataclass(frozen=True)
class PciPlaces:
    """The slots of a VM's devices."""

    screen: int
    usb: int
    seed: int
    disks: Mapping[str, int]
    """Slots of disks that are PCI devices themselves, by disk."""
    scsi: Mapping[str, ScsiPlace]
    """Places of SCSI disks, by disk."""
    networks: tuple[int, ...]
    """In the order of the networks."""

    @property
    def controllers(self) -> tuple[ScsiController, ...]:
        """Return the virtio-scsi controllers in the order of their slots."""
        return tuple({place.controller.id: place.controller for place in self.scsi.values()}.values())


def slot_address(slot: int) -> str:
    """Return a slot as QEMU's option addr, which is hexadecimal."""
    return f"addr={slot:#04x}"


def pci_places(settings: Values, disks: Sequence[Disk], networks: int) -> PciPlaces:
    """Return the slots of a VM's devices; raise DeclarationError if it has too few."""
    extra_args: Sequence[str] = settings.get("extra_args", ())
    slots = _free_slots(settings["machine"], extra_args)
    middle = slots[2:-1]
    own, scsi = _disk_places(disks, middle)
    needed = len(own) + len({place.controller.id for place in scsi.values()})
    extra = sum(map(_takes_free_slot, _devices(extra_args)))
    unused = _ALWAYS - sum(
        ("vnc" in settings, bool(settings.get("cloud_init")), any(disk.settings["model"] == "usb" for disk in disks))
    )
    if needed + networks + max(extra - unused, 0) > len(middle):
        parts = ((needed, "disks"), (networks, "networks"), (extra, "extra_args"))
        counted = " and ".join(f"{number} for {what}" for number, what in parts if number)
        advice = "; disks with model: virtio-scsi share one slot" if needed > 1 else ""
        raise DeclarationError(
            "",
            f"its devices need PCI slots ({counted}), and a {settings['machine']} has {len(middle)} for them{advice}",
        )
    return PciPlaces(slots[0], slots[1], slots[-1], own, scsi, tuple(middle[::-1][:networks]))


def _disk_places(disks: Sequence[Disk], slots: Sequence[int]) -> tuple[dict[str, int], dict[str, ScsiPlace]]:
    """Return the places of disks; disks beyond the last slot get that slot, and are refused by the number of places."""
    own: dict[str, int] = {}
    scsi: dict[str, ScsiPlace] = {}
    controllers: dict[tuple[int | None, str, int], ScsiController] = {}
    members: dict[tuple[int | None, str], int] = {}
    for disk in disks:
        slot = slots[min(len(own) + len(controllers), len(slots) - 1)]
        model = disk.settings["model"]
        if model in ("virtio-blk", "nvme"):
            own[disk.name] = slot
        elif model in _SCSI:
            kind = (disk.settings.get("queues"), disk.name if disk.settings["iothread"] else "")
            number, target = divmod(members.get(kind, 0), _TARGETS)
            members[kind] = members.get(kind, 0) + 1
            known = controllers.setdefault((*kind, number), _controller(kind, len(controllers), slot))
            scsi[disk.name] = ScsiPlace(known, target)
    return own, scsi


def _controller(kind: tuple[int | None, str], number: int, slot: int) -> ScsiController:
    queues, thread_of = kind
    return ScsiController(
        f"{thread_of}.scsi" if thread_of else f"machine.scsi{number}",
        queues,
        f"{thread_of}.iothread" if thread_of else "",
        slot,
    )


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
