# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Converts the networks of a command line: each is a network device with a netdev."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import count
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.arguments import Argument
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.names import fitting_name
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.settings import Conversion
from ansible_collections.directdisk.qemu.plugins.module_utils._adopt.texts import shown
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.vm import user_subnet
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError

CARDS = {
    "virtio-net-pci": "virtio",
    "virtio-net-pci-transitional": "virtio",
    "virtio-net-pci-non-transitional": "virtio",
    "virtio-net": "virtio",
    "virtio": "virtio",
    "e1000": "e1000",
    "e1000-82540em": "e1000",
}
_CHOICE = "QEMU's choice"
_MAC = re.compile("[0-9a-fA-F]{1,2}([:-][0-9a-fA-F]{1,2}){5}")
_FIRST_MAC = 0x56
"""QEMU's default addresses count from 52:54:00:12:34:56."""


def read_networks(conversion: Conversion, bridges: Mapping[str, str]) -> None:
    """Read the networks; bridges: the bridge of each tap device on the host."""
    networks: dict[str, dict[str, Any]] = {}
    behind = {name: a for a in conversion.of("netdev") for name in a.names}
    macs = _Addresses()
    for argument in conversion.of("device", "nic"):
        unasked = "e1000" if conversion.board == "pc" else "e1000e"
        card = str(argument.values.get("model" if argument.option == "nic" else "driver", unasked))
        netdev = argument if argument.option == "nic" else behind.get(str(argument.values.get("netdev")))
        if netdev is None or (argument.option == "nic" and argument.values.get("type") == "none"):
            continue
        try:
            mac = macs.next(argument.values.get("mac"))
            if card not in CARDS:
                raise DeclarationError(f"card {shown(card)}", f"there are {', '.join(sorted(set(CARDS.values())))}")
            number = sum("user" in network for network in networks.values())
            network, left = _read_netdev(netdev, bridges, user_subnet(number))
        except DeclarationError as error:
            conversion.left.append(f"{argument.shown}: {error}")
            continue
        name = fitting_name([*sorted(netdev.names), "net"], networks)
        model = {} if CARDS[card] == "virtio" else {"model": CARDS[card]}
        networks[name] = {**network, "mac": mac, **model}
        left += _unsaid(
            argument, ("driver", "id", "netdev", "mac", "model", *(netdev.values if netdev is argument else ()))
        )
        if "transitional" in card:
            left.append(f"{card}: a virtio device of both kinds is declared")
        conversion.left += [f"network {name}: {text}" for text in left]
        conversion.take(argument, netdev)
        conversion.gone |= {*argument.names, *netdev.names}
    if networks:
        conversion.vm["networks"] = networks
    _read_no_network(conversion, networks)


def _read_no_network(conversion: Conversion, networks: Mapping[str, Any]) -> None:
    """Report QEMU's default network device, which a command line without network options has."""
    none = [a for a in conversion.of("nic", "net") if a.values.get("type") == "none"]
    conversion.take(*none)
    asked = any(conversion.has(option) for option in ("nic", "net", "netdev", "nodefaults"))
    if not networks and not asked:
        conversion.left.append(
            "the network card that QEMU adds unasked (user network): declare networks if the guest uses it"
        )


def _unsaid(argument: Argument, known: tuple[str, ...]) -> list[str]:
    return [
        f"{key}={value}: {'a VM boots from its disks' if key == 'bootindex' else _CHOICE}"
        for key, value in argument.values.items()
        if key not in known and (key, str(value)) != ("bootindex", "-1")
    ]


def _read_netdev(netdev: Argument, bridges: Mapping[str, str], subnet: str) -> tuple[dict[str, Any], list[str]]:
    """Return a network and what is left of its options; subnet: what a user network has unless declared."""
    values = {key: value for key, value in netdev.values.items() if key not in ("id", "model", "mac")}
    kind = str(values.pop("type", ""))
    if kind == "user":
        forward = [_forward(rule) for rule in values.pop("hostfwd", [])]
        if values.get("net") == subnet:
            del values["net"]
        if values:
            raise DeclarationError(f"{next(iter(values))} of a user network", "cannot be declared")
        return {"user": True, **({"forward": forward} if forward else {})}, []
    if kind not in ("tap", "bridge"):
        raise DeclarationError(f"netdev {shown(kind)}", "there are bridge and user")
    tap = str(values.get("ifname", ""))
    bridge = bridges.get(tap) or values.get("br") or ("br0" if kind == "bridge" else "")
    if not bridge:
        raise DeclarationError(f"tap {tap}".strip(), "its bridge is not known; declare the network with it")
    own = ("br", "ifname", "script", "downscript", "helper")
    left = [f"{key}={value}: QEMU's choice" for key, value in values.items() if key not in own]
    scripts = [f"{key}={values[key]}" for key in ("script", "downscript") if values.get(key, "no") not in ("no", "")]
    left += [f"{text}: not run any more; see what it does beside the bridge" for text in scripts]
    return {"bridge": bridge}, left


def _forward(rule: Any) -> str:
    text = str(rule.get("str", "")) if isinstance(rule, Mapping) else str(rule)
    return f"tcp{text}" if text.startswith(":") else text


def _mac(text: str) -> str:
    """Return a hardware address as a declaration has it; QEMU takes bytes of one digit, and dashes between them."""
    if not _MAC.fullmatch(text):
        raise DeclarationError("mac", f"{shown(text)} is not a hardware address")
    return ":".join(part.zfill(2) for part in re.split("[:-]", text.lower()))


class _Addresses:
    """QEMU's default hardware addresses."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def next(self, values: Any) -> str:
        unasked = (f"52:54:00:12:34:{number:02x}" for number in count(_FIRST_MAC))
        # QEMU takes zeroes for none.
        declared = _mac(str(values)) if values else ""
        mac = declared if declared.strip("0:") else next(one for one in unasked if one not in self._taken)
        self._taken.add(mac)
        return mac
