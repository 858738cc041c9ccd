# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads libvirt's ``<controller>`` of a disk: a declared disk has a controller of its own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from xml.etree import ElementTree

from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.graph import ConvertedDisk
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.libvirt_source import attributes
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.command_line_context import CommandLineContext
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.uris import number_in

Pools = Mapping[str, ElementTree.Element]

_VIRTIO_SCSI = re.compile("virtio-scsi|virtio(-non)?-transitional")
_DEFAULT_SCSI = "lsilogic"
"""The model that libvirt takes for a SCSI controller without one, on x86."""
_DRIVER = ("queues", "iothread")


@dataclass(frozen=True)
class DomainContext:
    """The parts of a domain that a disk depends on; empty for a disk without its domain."""

    pools: Pools
    machine: str = ""
    controllers: tuple[ElementTree.Element, ...] = ()
    context: CommandLineContext = field(default_factory=CommandLineContext)


def read_controller(disk: ElementTree.Element, bus: str, domain: DomainContext, result: ConvertedDisk) -> None:
    """Declare what the controller of a disk does for it; name another kind of controller than the declared one."""
    if not domain.machine:
        return
    address = attributes(disk, "address")
    number = address.get("bus" if bus == "usb" else "controller", "0")
    same = [one for one in domain.controllers if one.get("type") == bus and one.get("index", "0") == number]
    controller = same[0] if same else ElementTree.Element("controller")
    model = controller.get("model", "")
    if bus == "scsi":
        _read_scsi(controller, "" if model == "auto" else model, result)
    elif bus == "sata" and domain.machine == "pc":
        result.left.append("it is on ich9-ahci: the board's IDE is declared, for which a guest may lack a driver")
    elif bus == "usb" and not model.endswith("xhci"):
        named = model or "the board's USB controller"
        result.left.append(f"it is on {named}: qemu-xhci is declared")


def _read_scsi(controller: ElementTree.Element, model: str, result: ConvertedDisk) -> None:
    if not _VIRTIO_SCSI.fullmatch(model):
        named = model or f"{_DEFAULT_SCSI}, libvirt's default"
        result.left.append(f"it is on {named}: virtio-scsi is declared, for which a guest may lack a driver")
        return
    if model != "virtio-scsi":
        result.left.append(f"{model}: a virtio device of both kinds is declared")
    driver = attributes(controller, "driver")
    if result.declared.get("model") == "virtio-scsi" and "queues" in driver:
        result.declared["queues"] = number_in(driver["queues"])
    several = controller.find("driver/iothreads")
    if "iothread" in driver or several is not None:
        result.declared["iothread"] = True
    if several is not None:
        result.left.append("<iothreads> of its controller: one I/O thread of its own is declared")
    result.left += [
        f"{key}={value} of its controller: QEMU's choice" for key, value in driver.items() if key not in _DRIVER
    ]
