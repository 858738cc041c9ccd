# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Converts libvirt's ``<disk type='network'>`` to a disk."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree

from ansible_collections.directdisk.qemu.plugins.module_utils._adopt import drives
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.graph import FoundDisk
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.texts import check_length, shown
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.adoption import LibvirtSource, as_declared
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.command_line_context import (
    CommandLineContext,
    Secret,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.registry import BACKENDS
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.uris import number_in
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError

_BUSES = {"virtio": "virtio-blk", "scsi": "virtio-scsi", "sata": "ide", "ide": "ide", "usb": "usb", "nvme": "nvme"}
_CACHES = ("default", "none", "writeback", "writethrough", "unsafe")
_LIMIT = re.compile("(total|read|write)_(bytes|iops)_sec(_max)?")
_AROUND = ("driver", "auth", "source", "target", "iotune", "readonly", "transient", "serial", "boot", "encryption")
_WITHOUT_MEANING = ("address", "alias", "backingStore", "mirror", "backenddomain", "privatedata")
"""Elements about the device in the guest, or about libvirt's own state."""
_SOURCE = ("protocol", "name", "query", "index", "startupPolicy")


def read_libvirt(text: str) -> FoundDisk:
    """Convert an element ``<disk>`` to a disk."""
    check_length(text, "libvirt")
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise DeclarationError("libvirt", "has a document type, which libvirt never writes")
    try:
        disk = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise DeclarationError("libvirt", f"is not valid XML at line {error.position[0]}") from None
    if disk.tag != "disk" or disk.get("type") != "network" or disk.get("device", "disk") != "disk":
        raise DeclarationError("libvirt", "<disk type='network' device='disk'> is required")
    for element in disk:
        if element.tag not in (*_AROUND, *_WITHOUT_MEANING):
            raise DeclarationError("libvirt", f"<{shown(element.tag)[1:-1]}> cannot be declared")
    found = _storage(disk)
    _read_driver(_attributes(disk, "driver"), found)
    _read_target(disk, found)
    _read_limits(disk.find("iotune"), found)
    if disk.find("readonly") is not None:
        found.declared["writes"] = "deny"
    if disk.find("transient") is not None:
        found.declared["writes"] = "discard"
    drives.refuse_writes(found.declared, found)
    return found


def _attributes(element: ElementTree.Element, path: str) -> dict[str, str]:
    found = element.find(path)
    return dict(found.attrib) if found is not None else {}


def _storage(disk: ElementTree.Element) -> FoundDisk:
    source = disk.find("source")
    protocol = source.get("protocol", "") if source is not None else ""
    backend = BACKENDS.get(protocol)
    if source is None or backend is None:
        raise DeclarationError("libvirt: source", f"protocol {shown(protocol)} cannot be declared")
    odd = [key for key in source.attrib if key not in _SOURCE]
    known = ("host", "auth", "encryption", "address", "slices", "privateData", *backend.adoption.libvirt_elements)
    odd += [element.tag for element in source if element.tag not in known or element.tag == "slices"]
    if odd:
        raise DeclarationError("libvirt: source", f"{shown(odd[0])} cannot be declared")
    auth = next((one for one in (disk.find("auth"), source.find("auth")) if one is not None), None)
    try:
        said = backend.adoption.read_libvirt(_source(source, auth))
        table = {option.name: option for option in backend.options}
        options = {name: as_declared(table[name], value) for name, value in said.items()}
        options = backend.adoption.fill_defaults(options, CommandLineContext())
    except DeclarationError as error:
        raise error.within(f"libvirt: {protocol}") from None
    found = FoundDisk({backend.name: options})
    encryption = next((one for one in (disk.find("encryption"), source.find("encryption")) if one is not None), None)
    if encryption is not None:
        _read_encryption(encryption, found.declared)
    return found


def _source(source: ElementTree.Element, auth: ElementTree.Element | None) -> LibvirtSource:
    return LibvirtSource(
        source.get("name", ""),
        source.get("query", ""),
        tuple(_host(host) for host in source.findall("host")),
        auth.get("username", "") if auth is not None else "",
        _secret(auth),
        {element.tag: _part(element) for element in source},
    )


def _host(host: ElementTree.Element) -> Mapping[str, str]:
    if host.get("transport", "tcp") not in ("tcp", "unix"):
        raise DeclarationError("host", f"transport {shown(host.get('transport'))} cannot be declared")
    return dict(host.attrib)


def _part(element: ElementTree.Element) -> dict[str, str]:
    """Return the attributes of an element and its children; cookies by their names."""
    found = dict(element.attrib)
    for inner in element:
        found.update({inner.get("name", ""): inner.text or ""} if inner.tag == "cookie" else inner.attrib)
    return found


def _secret(element: ElementTree.Element | None) -> Secret | None:
    secret = element.find("secret") if element is not None else None
    if secret is None:
        return None
    name = secret.get("uuid") or secret.get("usage") or ""
    return Secret(f"libvirt's secret {name}: virsh secret-get-value (by its uuid)")


def _read_encryption(encryption: ElementTree.Element, declared: dict[str, Any]) -> None:
    secret = _secret(encryption)
    if encryption.get("format") != "luks" or encryption.get("engine", "qemu") != "qemu" or secret is None:
        raise DeclarationError("libvirt: encryption", "luks by QEMU, with a secret, alone can be declared")
    declared["luks"] = {"passphrase": secret}


def _read_driver(said: dict[str, str], found: FoundDisk) -> None:
    declared = found.declared
    image = said.pop("type", "raw")
    if image not in ("raw", "qcow2"):
        raise DeclarationError("libvirt: driver", f"type {shown(image)} cannot be declared")
    if image == "qcow2":
        declared["format"] = image
    cache = said.pop("cache", "default")
    if cache not in _CACHES:
        raise DeclarationError("libvirt: driver", f"cache {shown(cache)} cannot be declared")
    if cache not in ("default", "writeback"):
        declared["cache"] = cache
    if said.pop("discard", "ignore") == "unmap":
        declared["discard"] = "unmap"
    zeroes = said.pop("detect_zeroes", "off")
    if zeroes != "off":
        declared["detect_zeroes"] = zeroes
    if said.pop("copy_on_read", "off") == "on":
        declared["copy_on_read"] = True
    if "queues" in said:
        declared["queues"] = number_in(said.pop("queues"))
    if said.pop("iothread", None):
        declared["iothread"] = True
    drives.set_errors(declared, _error_policies(said), found)
    said.pop("name", None)
    found.left += [f"{key}={value} of <driver>: QEMU's own choice" for key, value in said.items()]


def _error_policies(said: dict[str, str]) -> dict[str, str]:
    """Return the error policies; the default of reads is that of writes."""
    write = said.pop("error_policy", "")
    read = said.pop("rerror_policy", write if write != "enospace" else "")
    return {key: value for key, value in (("werror", write), ("rerror", read)) if value}


def _read_target(disk: ElementTree.Element, found: FoundDisk) -> None:
    target = _attributes(disk, "target")
    bus = target.get("bus", "virtio" if target.get("dev", "vd").startswith("vd") else "")
    if bus not in _BUSES:
        raise DeclarationError("libvirt: target", f"bus {shown(bus)} cannot be declared")
    if bus != "virtio":
        found.declared["model"] = _BUSES[bus]
    serial = disk.findtext("serial")
    if serial:
        found.declared["serial"] = serial
    order = _attributes(disk, "boot").get("order")
    if order:
        found.declared["boot_index"] = _boot_index(order)


def _boot_index(order: str) -> int:
    """Convert the boot order: libvirt counts from 1, QEMU from 0."""
    if not re.fullmatch("[1-9][0-9]{0,2}", order):
        raise DeclarationError("libvirt: boot", f"order {shown(order)} is not a number above 0")
    return int(order) - 1


def _read_limits(iotune: ElementTree.Element | None, found: FoundDisk) -> None:
    for element in iotune if iotune is not None else ():
        match = _LIMIT.fullmatch(element.tag)
        if not match:
            raise DeclarationError("libvirt: iotune", f"<{element.tag}> cannot be declared")
        if (element.text or "0").strip() != "0":
            kind = {"bytes": "bps", "iops": "iops"}[match[2]]
            limits = found.declared.setdefault(kind, {})
            limits[f"{match[1]}{match[3] or ''}"] = number_in((element.text or "").strip())
