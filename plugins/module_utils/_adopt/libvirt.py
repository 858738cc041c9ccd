# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Converts libvirt's ``<disk>`` to a disk; storage pools in front of it give its volume's place."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree

from ansible_collections.directdisk.qemu.plugins.module_utils._adopt import drives
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.cd_drives import attachment_of, declare_cd_drive
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.graph import (
    ConvertedDisk,
    is_named_qcow2,
    read_limits,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.libvirt_controllers import (
    DomainContext,
    Pools,
    read_controller,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.libvirt_source import (
    attributes,
    read_storage,
    secrets_of,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.texts import check_length, shown
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.uris import number_in
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.cd_drive import DRIVERS, MODEL
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError

_BUSES = {"virtio": "virtio-blk", "scsi": "virtio-scsi", "sata": "ide", "ide": "ide", "usb": "usb", "nvme": "nvme"}
_CACHES = ("default", "none", "writeback", "writethrough", "directsync", "unsafe")
_LIMIT = re.compile("(?:(total|read|write)_(bytes|iops)_sec(_max(?:_length)?)?|(size)_(iops)_sec)")
_READ = (
    *("driver", "auth", "source", "target", "iotune", "readonly", "transient", "serial", "boot", "encryption"),
    *("wwn", "blockio", "backingStore", "shareable"),
)
_SILENT = ("alias", "backenddomain", "privatedata")
"""Elements about libvirt's own state."""
_PLACE = "the place of a device is QEMU's choice"
_SECTORS = ("logical_block_size", "physical_block_size")


def parse(text: str) -> list[ElementTree.Element]:
    """Return the elements of a text, which may be several documents after one another."""
    check_length(text, "libvirt")
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise DeclarationError("libvirt", "has a document type, which libvirt never writes")
    bare = re.sub(r"<\?xml[^>]*\?>", "", text)
    try:
        return list(ElementTree.fromstring(f"<x>{bare}</x>"))
    except ElementTree.ParseError as error:
        raise DeclarationError("libvirt", f"is not valid XML at line {error.position[0]}") from None


def pools_of(elements: list[ElementTree.Element]) -> Pools:
    """Return the storage pools by name."""
    return {pool.findtext("name", ""): pool for pool in elements if pool.tag == "pool"}


def read_disk(disk: ElementTree.Element, domain: DomainContext) -> ConvertedDisk:
    """Convert an element ``<disk>`` to a disk."""
    device = disk.get("device", "disk")
    if device not in ("disk", "lun", MODEL):
        raise DeclarationError("libvirt", f"device={shown(device)} is not a disk{_medium(disk)}")
    result = ConvertedDisk()
    if device == MODEL and _is_empty(disk):
        _read_cd_drive(disk, domain, result)
        return result
    chain = disk.find("backingStore")
    if chain is not None and len(chain):
        problem = "the overlay above its backing store would be left behind; commit it to its base first"
        raise DeclarationError("libvirt: backingStore", problem)
    backend, options = read_storage(disk, domain.pools, result, domain.context)
    result.declared[backend.name] = options
    _read_encryption(disk, result)
    _read_driver(attributes(disk, "driver"), disk.find("driver"), result, has_aio=_has_aio(backend.options))
    if device == MODEL:
        _read_cd_drive(disk, domain, result)
        return result
    bus = _read_target(disk, result, passthrough=device == "lun" and backend.access.scsi_passthrough)
    read_controller(disk, bus, domain, result)
    if device == "lun" and result.declared.get("model") != "scsi-block":
        result.left.append("device='lun': SCSI commands of the guest do not reach the device")
    _read_identity(disk, result)
    _read_limits(disk.find("iotune"), result)
    if disk.find("readonly") is not None:
        result.declared["writes"] = "deny"
    if disk.find("transient") is not None:
        result.declared["writes"] = "discard"
    _name_the_rest(disk, result)
    drives.refuse_writes(result.declared, result)
    return result


def _is_empty(disk: ElementTree.Element) -> bool:
    """Return if a CD drive has no medium."""
    if disk.find("source") is None:
        return True
    source = attributes(disk, "source")
    return disk.get("type", "file") in ("file", "block") and not any(map(source.get, ("file", "dev", "protocol")))


def _read_cd_drive(disk: ElementTree.Element, domain: DomainContext, result: ConvertedDisk) -> None:
    """Read how a CD drive is connected, and what a drive that only reads has of a disk."""
    bus = _read_target(disk, result, passthrough=False)
    read_controller(disk, bus, domain, result)
    for option in ("iothread", "queues"):
        result.declared.pop(option, None)
    _read_limits(disk.find("iotune"), result)
    declare_cd_drive(result, _cd_bus(bus))
    _read_identity(disk, result)
    _name_the_rest(disk, result)


def _cd_bus(bus: str) -> str:
    if _BUSES[bus] not in DRIVERS:
        raise DeclarationError("libvirt: target", f"bus {shown(bus)} is not one of a CD drive")
    return _BUSES[bus]


def _medium(disk: ElementTree.Element) -> str:
    """Return the image of a drive that is not declared, for people."""
    source = attributes(disk, "source")
    place = next((source[key] for key in ("file", "dev", "name", "volume") if source.get(key)), "")
    return f"; its medium was {shown(place)}" if place else ""


def _has_aio(options: Any) -> bool:
    return any(option.qemu == "aio" for option in options)


def _read_encryption(disk: ElementTree.Element, result: ConvertedDisk) -> None:
    """Read the encryption by QEMU; that of the storage's own client is the backend's."""
    element = disk.find("encryption")
    element = disk.find("source/encryption") if element is None else element
    if element is None or element.get("engine", "qemu") != "qemu":
        return
    secrets = secrets_of(element)
    if element.get("format") != "luks" or len(secrets) != 1:
        raise DeclarationError("libvirt: encryption", "luks by QEMU, with one secret, can be declared")
    result.declared["luks"] = {"passphrase": secrets[0]}


def _read_driver(
    declared: dict[str, str], element: ElementTree.Element | None, result: ConvertedDisk, *, has_aio: bool
) -> None:
    disk = result.declared
    if "type" not in declared and is_named_qcow2(disk):
        result.notes.append(
            "format: not set, so libvirt takes raw; its name ends in .qcow2: check it with qemu-img info"
        )
    image = declared.pop("type", "raw")
    if image not in ("raw", "qcow2"):
        raise DeclarationError("libvirt: driver", f"type {shown(image)} cannot be declared")
    if image == "qcow2":
        disk["format"] = image
    cache = declared.pop("cache", "default")
    if cache not in _CACHES:
        raise DeclarationError("libvirt: driver", f"cache {shown(cache)} cannot be declared")
    if cache not in ("default", "writeback"):
        disk["cache"] = cache
    unmap = declared.pop("discard", "ignore") == "unmap"
    if unmap:
        disk["discard"] = "unmap"
    zeroes = declared.pop("detect_zeroes", "off")
    if zeroes != "off":
        # libvirt itself makes it on, because QEMU refuses unmap without discard.
        disk["detect_zeroes"] = zeroes if unmap else "on"
    if declared.pop("copy_on_read", "off") == "on":
        disk["copy_on_read"] = True
    if "queues" in declared:
        disk["queues"] = number_in(declared.pop("queues"))
    aio = declared.pop("io", None)
    if aio and has_aio:
        next(value for value in disk.values() if isinstance(value, dict))["aio"] = aio
    elif aio:
        result.left.append(f"io={aio} of <driver>: has no effect on this storage")
    if declared.pop("iothread", None):
        disk["iothread"] = True
    for inner in element if element is not None else ():
        if inner.tag == "iothreads" and len(inner):
            disk["iothread"] = True
        number = f"{len(inner)} " if len(inner) > 1 else ""
        result.left.append(f"<{inner.tag}> of <driver>: {number}{_INNER.get(inner.tag, 'not declared')}".strip())
    drives.set_errors(disk, _error_policies(declared), result)
    declared.pop("name", None)
    result.left += [f"{key}={value} of <driver>: QEMU's own choice" for key, value in declared.items()]


_INNER = {"iothreads": "I/O threads; one of its own is declared", "metadata_cache": "QEMU's own choice"}


def _error_policies(declared: dict[str, str]) -> dict[str, str]:
    """Return the error policies; the default of reads is that of writes."""
    write = declared.pop("error_policy", "")
    read = declared.pop("rerror_policy", write if write != "enospace" else "")
    words = {"enospace": "enospc"}
    return {key: words.get(value, value) for key, value in (("werror", write), ("rerror", read)) if value}


def _read_target(disk: ElementTree.Element, result: ConvertedDisk, *, passthrough: bool) -> str:
    """Read the device model; return the bus."""
    target = attributes(disk, "target")
    name = target.get("dev", "vd")
    bus = target.pop("bus", {"vd": "virtio", "hd": "ide", "sd": "scsi"}.get(name[:2], ""))
    if bus not in _BUSES:
        raise DeclarationError("libvirt: target", f"bus {shown(bus)} cannot be declared")
    model = "scsi-block" if passthrough and bus == "scsi" else _BUSES[bus]
    if model != "virtio-blk":
        result.declared["model"] = model
    rate = number_in(target.pop("rotation_rate", None))
    if isinstance(rate, int) and rate and model in ("virtio-scsi", "ide"):
        result.declared["rotation_rate"] = rate
    elif rate:
        result.left.append(f"rotation_rate={rate} of <target>: not declared")
    for key, value in target.items():
        if key != "dev" and (key, value) not in (("removable", "off"), ("tray", "closed")):
            result.left.append(f"{key}={value} of <target>: not declared")
    order = attributes(disk, "boot").get("order")
    if order:
        result.declared["boot_index"] = _boot_index(order)
    return bus


def _boot_index(order: str) -> int:
    """Return the boot order, which libvirt passes on to QEMU as it is."""
    if not re.fullmatch("[1-9][0-9]{0,2}", order):
        raise DeclarationError("libvirt: boot", f"order {shown(order)} is not a number above 0")
    return int(order)


def _read_identity(disk: ElementTree.Element, result: ConvertedDisk) -> None:
    """Read serial number, world wide name and sizes of sectors."""
    declared = result.declared
    model = declared.get("model", "virtio-blk")
    serial = disk.findtext("serial") or ""
    if serial.strip():
        drives.set_serial(attachment_of(declared), serial, result)
    wwn = (disk.findtext("wwn") or "").strip().lower()
    wwn = wwn[2:] if wwn.startswith("0x") else wwn
    if wwn and model in ("virtio-scsi", "ide") and re.fullmatch("[0-9a-fA-F]{16}", wwn):
        declared["wwn"] = wwn
    elif wwn:
        result.left.append(f"wwn {wwn}: not declared")
    for key, value in attributes(disk, "blockio").items():
        size = number_in(value)
        if key in _SECTORS and model not in ("scsi-block", MODEL) and (model, key) != ("ide", _SECTORS[0]):
            declared.update({key: size} if size != 512 else {})
        else:
            result.left.append(f"{key}={value} of <blockio>: not declared")


def _read_limits(iotune: ElementTree.Element | None, result: ConvertedDisk) -> None:
    limits: dict[str, Any] = {}
    for element in iotune if iotune is not None else ():
        text = (element.text or "0").strip()
        match = _LIMIT.fullmatch(element.tag)
        if element.tag == "group_name":
            limits["group"] = text
        elif match:
            kind = "bps" if "bytes" in element.tag else "iops"
            limits[f"{kind}-{match[1] or 'size'}{(match[3] or '').replace('_', '-')}"] = text
        elif text != "0":
            result.left.append(f"<{element.tag}> of <iotune>: not declared")
    result.declared.update(read_limits(limits, result))


def _name_the_rest(disk: ElementTree.Element, result: ConvertedDisk) -> None:
    """Name what is not declared, so that nothing is lost in silence."""
    known = ("type", "device", "snapshot")
    result.left += [f"{key}={value} of <disk>: not declared" for key, value in disk.attrib.items() if key not in known]
    for element in disk:
        if element.tag == "address":
            place = ",".join(f"{key}={value}" for key, value in element.attrib.items())
            result.left.append(f"<address> {place}: {_PLACE}")
        elif element.tag == "mirror":
            result.left.append("<mirror>: a block copy is running; what is opened after its end is another image")
        elif element.tag == "shareable" and disk.get("device") != MODEL:
            result.declared.setdefault("cache", "none")
            result.left.append("<shareable>: several VMs may write to it, which a declaration refuses")
        elif element.tag not in (*_READ, *_SILENT):
            result.left.append(f"<{element.tag}>: not declared")
