# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Converts networks, screen and console of libvirt's ``<domain>``."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree

from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.libvirt_source import attributes
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.names import fitting_name
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.settings import Conversion
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.command_line_context import Secret

_CARDS = {"virtio": "virtio", "e1000": "e1000", "virtio-transitional": "virtio", "virtio-non-transitional": "virtio"}
_FIRST_PORT, _LAST_PORT = 5900, 65535
_SCREEN = ("type", "port", "autoport", "listen", "passwd")
_NONE = ("none", "socket")


def read_interfaces(devices: ElementTree.Element, conversion: Conversion) -> None:
    networks: dict[str, dict[str, Any]] = {}
    for number, element in enumerate(devices.findall("interface")):
        kind, mac = element.get("type", ""), attributes(element, "mac").get("address", "")
        card = attributes(element, "model").get("type", "")
        source = attributes(element, "source")
        where = f"<interface type={kind}> {mac}".strip()
        bridge = source.get("bridge", "") if kind in ("bridge", "network") else ""
        if not (bridge or kind == "user") or card not in _CARDS:
            texts = [f"{key}={value}" for key, value in source.items()] + ([f"model={card}"] if card else [])
            has = f"{where} {' '.join(texts)}".strip()
            conversion.left.append(f"{has}: declare it in networks, with its bridge and the models virtio and e1000")
            continue
        network: dict[str, Any] = {"bridge": bridge} if bridge else {"user": True}
        network.update({"mac": mac} if mac else {})
        network.update({"model": "e1000"} if _CARDS[card] == "e1000" else {})
        networks[fitting_name([f"net{number}"], networks)] = network
        _name_the_rest(element, where, conversion)
    if networks:
        conversion.vm["networks"] = networks


def _name_the_rest(element: ElementTree.Element, where: str, conversion: Conversion) -> None:
    card = attributes(element, "model").get("type", "")
    if "transitional" in card:
        conversion.left.append(f"{where}: {card}: a virtio device of both kinds is declared")
    for inner in element:
        texts = ",".join(f"{key}={value}" for key, value in inner.attrib.items())
        if inner.tag == "address":
            conversion.left.append(f"{where}: <address> {texts}: the place of a device is QEMU's choice")
        elif inner.tag not in ("mac", "source", "model", "target", "alias"):
            conversion.left.append(f"{where}: <{inner.tag}>{' ' if texts else ''}{texts}: not declared")


def read_screen(devices: ElementTree.Element, conversion: Conversion) -> None:
    for element in devices.findall("graphics"):
        kind = element.get("type", "")
        if kind != "vnc" or "vnc" in conversion.vm:
            conversion.left.append(f"<graphics type={kind}>: a VM has VNC (vnc) or no screen")
        elif attributes(element, "listen").get("type") == "none":
            conversion.left.append("<graphics type=vnc>: it listens nowhere; declare vnc if the guest needs a screen")
        else:
            conversion.vm["vnc"] = _vnc(element, conversion)
    for element in devices.findall("video/model"):
        kind = element.get("type", "")
        if kind not in ("vga", "none") or "vnc" not in conversion.vm:
            conversion.left.append(f"<video> {kind}: a VM has the adapter VGA with vnc, or none")


def _vnc(element: ElementTree.Element, conversion: Conversion) -> dict[str, Any]:
    """Return the address of a screen; a port that libvirt chooses is the unit's socket."""
    own = attributes(element, "listen")
    listen = own.get("address") or element.get("listen") or "127.0.0.1"
    port = element.get("port", "-1")
    fixed = re.fullmatch("[0-9]{4,5}", port) is not None and _FIRST_PORT <= int(port) <= _LAST_PORT
    socket = own.get("type") in _NONE or "socket" in element.attrib
    vnc: dict[str, Any] = {"address": listen, "port": int(port)} if fixed and not socket else {}
    if not vnc and not socket:
        conversion.left.append("<graphics type=vnc>: libvirt chooses its port; vnc: {} is a unix socket of the unit")
    if element.get("passwd"):
        vnc["password"] = Secret("passwd= of <graphics>", element.get("passwd"))
    if own.get("type") == "network" and "address" not in own:
        conversion.left.append(f"<listen> network={own.get('network', '')} of <graphics>: {listen} is declared")
    for key, value in element.attrib.items():
        if key not in _SCREEN:
            conversion.left.append(f"{key}={value} of <graphics>: not declared")
    return vnc


def read_console(devices: ElementTree.Element, conversion: Conversion) -> None:
    """Declare the first serial port as the console; a virtio console is another device."""
    ports = devices.findall("serial")
    kinds = [attributes(port, "target").get("type", "isa-serial") for port in ports]
    consoles = [attributes(one, "target").get("type", "serial") for one in devices.findall("console")]
    conversion.vm["console"] = "isa-serial" in kinds or (not ports and "serial" in consoles)
    first = kinds.index("isa-serial") if "isa-serial" in kinds else -1
    for number, (port, kind) in enumerate(zip(ports, kinds)):
        backend = port.get("type", "pty")
        place = " ".join(f"{key}={value}" for key, value in attributes(port, "source").items())
        named = f"<serial type={backend}> {place}".strip()
        if number != first:
            conversion.left.append(f"{named}: {kind} number {number + 1}: not declared")
        elif backend != "pty":
            conversion.left.append(f"{named}: the console is a socket with a log, both of the unit")
    conversion.left += [f"<console> of type {kind}: not declared" for kind in consoles if kind != "serial"]
