# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Converts the device of a disk: its model, and the properties that the guest sees."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._adopt import drives
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.arguments import Argument
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.graph import ConvertedDisk
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.places import Place, number_of
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.settings import Conversion
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.texts import shown, switch
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.uris import number_in
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.schema import MOST_BOOT_INDEX
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError

DEVICES = {
    "virtio-blk-pci": "virtio-blk",
    "virtio-blk": "virtio-blk",
    "virtio-blk-pci-transitional": "virtio-blk",
    "virtio-blk-pci-non-transitional": "virtio-blk",
    "scsi-hd": "virtio-scsi",
    "scsi-disk": "virtio-scsi",
    "scsi-block": "scsi-block",
    "scsi-generic": "scsi-generic",
    "nvme": "nvme",
    "nvme-ns": "nvme",
    "ide-hd": "ide",
    "ide-drive": "ide",
    "ide-cd": "ide",
    "scsi-cd": "virtio-scsi",
    "usb-storage": "usb",
}
_USB_BRIDGE = "usb-bot"
"""Device that connects SCSI drives to a USB bus."""
_VARIANT = re.compile("virtio-.*-(non-)?transitional")
_VIRTIO_SCSI = re.compile("virtio-scsi(-pci(-transitional|-non-transitional)?)?")
_SCSI = re.compile(f"{_VIRTIO_SCSI.pattern}|lsi.*|megasas.*|mptsas1068|pvscsi|am53c974|dc390")
_ON_SCSI = ("virtio-scsi", "scsi-block", "scsi-generic")
_WITH_QUEUES = ("virtio-blk", "virtio-scsi")

_PLACE = (
    "addr",
    "bus",
    "channel",
    "lun",
    "max-ioqpairs",
    "multifunction",
    "nsid",
    "port",
    "queue-size",
    "scsi-id",
    "unit",
)
"""Properties for the place and the speed of a device."""
_DEFAULTS: Mapping[str, tuple[Any, ...]] = {
    "ats": (False,),
    "bootindex": (-1,),
    "config-wce": (True,),
    "discard": (True,),
    "dpofua": (False,),
    "event-idx": (True,),
    "indirect-desc": (True,),
    "ioeventfd": (True,),
    "iommu-platform": (False,),
    "multifunction": (False,),
    "packed": (False,),
    "page-per-vq": (False,),
    "physical-block-size": (512,),
    "logical-block-size": (512,),
    "removable": (False,),
    "request-merging": (True,),
    "rotation-rate": (0,),
    "scsi": (False,),
    "share-rw": (False,),
    "write-zeroes": (True,),
}
"""Values that are QEMU's default, so that nothing is lost with them."""


@dataclass(frozen=True)
class Hardware:
    """The device of a disk, also if ``if=`` of a drive implies it."""

    model: str
    properties: Mapping[str, Any]
    device: Argument | None = None
    index: int | None = None
    """Number of an IDE disk that a board places by itself."""
    place: Place = ()
    """Its place, comparable with those of other disks of its model."""
    is_cd: bool = False
    """True for a CD drive; its model is the bus then."""


def model_of(conversion: Conversion, device: Argument) -> str:
    """Return the model of a disk from its device; empty for other devices."""
    bridge = _named(conversion, str(device.values["bus"])) if "bus" in device.values else None
    if bridge is not None and bridge.values.get("driver") == _USB_BRIDGE:
        return "usb"
    return DEVICES.get(str(device.values.get("driver")), "")


def read_properties(conversion: Conversion, hardware: Hardware, disk: ConvertedDisk) -> None:
    """Read the model of a disk from the properties of its device; name what cannot be declared."""
    driver = str(hardware.properties.get("driver"))
    where = f"-device {driver}"
    properties = {
        key.replace("_", "-"): value
        for key, value in hardware.properties.items()
        if key not in ("driver", "drive", "id")
    }
    if _VARIANT.fullmatch(driver):
        disk.left.append(f"{driver}: a virtio device of both kinds is declared")
    _read_bus(conversion, hardware, properties, disk, where)
    declared = disk.declared
    _read_boot_index(properties, disk)
    if "serial" in properties:
        drives.set_serial(hardware.model, str(properties.pop("serial")), disk)
    if not hardware.is_cd:
        _read_numbers(hardware.model, properties, declared)
    write_cache = _write_cache(properties.pop("write-cache", "auto"), where)
    drives.set_write_cache(declared, hardware.is_cd or write_cache, where)
    errors: dict[str, str] = {key: str(properties.pop(key)) for key in ("werror", "rerror") if key in properties}
    only_reads = hardware.is_cd or declared.get("writes") == "deny"
    if errors and hardware.model != "nvme" and not only_reads:
        drives.set_errors(declared, errors, disk)
    elif errors.get("rerror", "auto") != "auto":
        drives.set_errors(declared, {"werror": errors["rerror"], "rerror": errors["rerror"]}, disk)
    for key, value in properties.items():
        if _is_default(key, value):
            continue
        why = "the place and the queues of a device are QEMU's choice" if key in _PLACE else "not declared"
        disk.left.append(f"{_spelled(hardware, key)}={value}: {why}")


def _spelled(hardware: Hardware, key: str) -> str:
    """Return a property's name as the command line has it."""
    return next((name for name in hardware.properties if name.replace("_", "-") == key), key)


def _is_default(key: str, value: Any) -> bool:
    defaults = _DEFAULTS.get(key, ())
    if any(isinstance(default, bool) for default in defaults):
        words = {"on": True, "yes": True, "true": True, "off": False, "no": False, "false": False}
        return words.get(str(value).lower()) in defaults
    return str(value) in map(str, defaults)


def _read_boot_index(properties: dict[str, Any], disk: ConvertedDisk) -> None:
    text = str(properties.get("bootindex", ""))
    number = number_of(text)
    if 0 <= number <= MOST_BOOT_INDEX and re.fullmatch("[0-9]+|0x[0-9a-fA-F]+", text):
        disk.declared["boot_index"] = number
        del properties["bootindex"]


def _read_numbers(model: str, properties: dict[str, Any], declared: dict[str, Any]) -> None:
    """Read queues, I/O thread, world wide name, sizes of sectors and rotation rate."""
    if model in _WITH_QUEUES:
        if "num-queues" in properties:
            declared["queues"] = number_in(properties.pop("num-queues"))
        if properties.pop("iothread", None) or "iothread-vq-mapping" in properties:
            declared["iothread"] = True
    if model in ("virtio-scsi", "ide"):
        wwn = number_of(properties.get("wwn"))
        if wwn:
            declared["wwn"] = f"{wwn:016x}"
            del properties["wwn"]
        rate = number_of(properties.get("rotation-rate"))
        if rate:
            declared["rotation_rate"] = rate
            del properties["rotation-rate"]
    if model in ("virtio-scsi", "virtio-blk", "nvme", "usb", "ide"):
        for key in ("logical-block-size", "physical-block-size"):
            size = number_of(properties.get(key))
            if size and size != 512 and (model, key) != ("ide", "logical-block-size"):
                declared[key.replace("-", "_")] = size
                del properties[key]


def _write_cache(value: Any, where: str) -> bool:
    return value == "auto" or switch(value, f"{where}: write-cache")


def _read_bus(
    conversion: Conversion, hardware: Hardware, properties: dict[str, Any], disk: ConvertedDisk, where: str
) -> None:
    """Read the options of the controller that a disk is on: a declared disk has a controller of its own."""
    if hardware.model in _ON_SCSI:
        properties.update(_scsi_controller(conversion, properties.pop("bus", None), disk, where))
        return
    bus = properties.get("bus")
    controller = _named(conversion, str(bus)) if bus is not None else None
    if controller is None:
        return
    driver = str(controller.values.get("driver"))
    if hardware.model == "nvme":
        properties.setdefault("serial", controller.values.get("serial", ""))
    if hardware.model == "ide":
        chip = {"pc": "IDE", "q35": "AHCI"}[conversion.board]
        disk.left.append(f"it is on {driver}: the board's {chip} is declared, for which a guest may lack a driver")
        del properties["bus"]
    if hardware.model == "usb" and not driver.endswith("xhci") and driver != _USB_BRIDGE:
        disk.left.append(f"it is on {driver}: qemu-xhci is declared")


def _named(conversion: Conversion, bus: str) -> Argument | None:
    """Return the device that provides a bus."""
    names = {bus, bus.rpartition(".")[0]}
    return next((a for a in conversion.arguments if a.option == "device" and a.names & names), None)


def _scsi_controller(conversion: Conversion, bus: Any, disk: ConvertedDisk, where: str) -> dict[str, Any]:
    """Return the properties of a SCSI disk's controller that are the disk's in a declaration."""
    controllers = [
        a for a in conversion.arguments if a.option == "device" and _SCSI.fullmatch(str(a.values.get("driver")))
    ]
    controller = _named(conversion, str(bus)) if bus is not None else next(iter(controllers), None)
    if controller not in controllers or controller is None:
        raise DeclarationError(where, f"is on {shown(bus or 'no bus')}, which is no SCSI controller that is known here")
    driver = str(controller.values.get("driver"))
    settings = {re.sub("_", "-", key): value for key, value in controller.values.items() if key not in ("driver", "id")}
    if not _VIRTIO_SCSI.fullmatch(driver):
        disk.left.append(f"it is on {driver}: virtio-scsi is declared, for which a guest may lack a driver")
        return {}
    if _VARIANT.fullmatch(driver):
        disk.left.append(f"{driver}: a virtio device of both kinds is declared")
    of_disks = ("num-queues", "iothread", "iothread-vq-mapping")
    own: dict[str, Any] = {key: settings.pop(key) for key in of_disks if key in settings}
    disk.left += [
        f"{key}={value} of its controller: QEMU's choice"
        for key, value in settings.items()
        if not _is_default(key, value)
    ]
    return own
