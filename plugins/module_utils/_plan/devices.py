# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The devices of a guest's disks, and their controllers. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from ansible_collections.directdisk.qemu.plugins.module_utils._backends.resources import keyval
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.values import Values
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration import cd_drive
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Drive, serial_of
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.pci import PciPlaces, ScsiController
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.schema import FLUSHING, PASSTHROUGH

DRIVERS = {
    "virtio-blk": "virtio-blk-pci",
    "virtio-scsi": "scsi-hd",
    "scsi-block": "scsi-block",
    "scsi-generic": "scsi-generic",
    "nvme": "nvme",
    "ide": "ide-hd",
    "usb": "usb-storage",
}
"""QEMU's device by the declared model of a disk."""


def driver_of(disk: Drive) -> str:
    """Return QEMU's device of a disk or CD drive."""
    model: str = disk.settings["model"]
    return cd_drive.DRIVERS[disk.attachment] if model == cd_drive.MODEL else DRIVERS[model]


def disk_devices(disks: Sequence[tuple[Drive, str]], machine_type: str, places: PciPlaces) -> list[str]:
    """Return the ``-device`` values of disks, each with the name of its top node, empty without a medium.

    Ports and controllers come first.
    """
    devices: list[str] = [port.argument for port in places.ports]
    ide = 0
    if any(disk.attachment == "usb" for disk, _top in disks):
        devices.append(f"qemu-xhci,id=machine.usb,{places.usb}")
    devices += map(_scsi_controller, places.controllers)
    for disk, top in disks:
        if _is_usb_cd(disk):
            devices.append(f"usb-bot,bus=machine.usb.0,id={_usb_id(disk)}")
        devices.append(_device(disk, top, _place(disk, places, _ide_bus(ide, machine_type))))
        ide += disk.attachment == "ide"
    return devices


def iothread_objects(disks: Sequence[Drive]) -> list[str]:
    """Return the ``-object`` values of the disks' I/O threads."""
    return [f"iothread,id={disk.name}.iothread" for disk in disks if disk.settings["iothread"]]


def _scsi_controller(controller: ScsiController) -> str:
    properties = ["virtio-scsi-pci", f"id={controller.id}", controller.place]
    if controller.queues is not None:
        properties.append(f"num_queues={controller.queues}")
    if controller.iothread:
        properties.append(f"iothread={controller.iothread}")
    return ",".join(properties)


def _place(disk: Drive, places: PciPlaces, ide_bus: str) -> str:
    """Return the bus and address of a disk."""
    if disk.name in places.disks:
        return places.disks[disk.name]
    if disk.attachment == "ide":
        return f"bus={ide_bus}"
    # QEMU's usb-storage is a disk only: a CD drive is a SCSI device behind a USB bridge.
    return f"bus={_usb_id(disk)}.0" if _is_usb_cd(disk) else "bus=machine.usb.0"


def _is_usb_cd(disk: Drive) -> bool:
    return disk.settings["model"] == cd_drive.MODEL and disk.attachment == "usb"


def _usb_id(disk: Drive) -> str:
    """Return the id of the USB bridge of a CD drive."""
    return f"{disk.name}.usb"


def _device(disk: Drive, top: str, place: str) -> str:
    settings = disk.settings
    model: str = settings["model"]
    driver = driver_of(disk)
    properties = [driver, place, *([f"drive={top}"] if top else []), f"id={disk.name}"]
    if "boot_index" in settings:
        properties.append(f"bootindex={settings['boot_index']}")
    if model == "scsi-generic":
        return ",".join(properties)
    if model not in PASSTHROUGH:
        properties.append(f"serial={keyval(serial_of(disk))}")
    properties += _identity(settings, driver)
    if model == "virtio-blk":
        properties += [f"num-queues={settings['queues']}"] if "queues" in settings else []
        properties += [f"iothread={disk.name}.iothread"] if settings["iothread"] else []
    if model not in ("nvme", "scsi-block", cd_drive.MODEL):
        properties.append(f"write-cache={'off' if settings['cache'] in FLUSHING else 'on'}")
    if model != "nvme":
        # A write to a read-only disk always fails: a guest that is paused for it would never continue.
        write_error = "report" if disk.writes == "deny" else settings["on_error"]
        properties += [f"werror={write_error}", f"rerror={settings['on_error']}"]
    return ",".join(properties)


_DEVICE_ID_LENGTH = 20
_WITH_DEVICE_ID = ("scsi-hd", "scsi-cd")


def _identity(settings: Values, driver: str) -> list[str]:
    """Return the properties that tell the guest which disk this is, and of which kind."""
    sizes = {"physical_block_size": settings["logical_block_size"]} if "logical_block_size" in settings else {}
    shown = {**sizes, **settings}
    properties = [
        f"{option}={shown[option]}"
        for option in ("logical_block_size", "physical_block_size", "rotation_rate")
        if option in shown
    ]
    if "wwn" in settings:
        properties.append(f"wwn=0x{settings['wwn'].lower().removeprefix('0x')}")
    serial = settings.get("serial", "")
    if driver in _WITH_DEVICE_ID and len(serial) > _DEVICE_ID_LENGTH:
        # QEMU 9.1 and later refuse to shorten a serial number to the device's id.
        properties.append(f"device_id={keyval(serial[:_DEVICE_ID_LENGTH])}")
    return properties


def _ide_bus(number: int, machine_type: str) -> str:
    """Return the bus of an IDE disk: q35 has six AHCI ports, pc has two IDE channels of two units each."""
    if machine_type == "q35":
        return f"ide.{number}"
    return f"ide.{number // 2},unit={number % 2}"
