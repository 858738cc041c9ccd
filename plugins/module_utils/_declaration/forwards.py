# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks the ports of the host that a user network forwards to its guest."""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import IPv4Address

from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError

_ALL = "0.0.0.0"
_RULE = re.compile(r"(tcp|udp):([^,\s]*?):(\d+)-([^,\s]*):(\d+)")


def check_forwards(rules: Iterable[str], where: str) -> None:
    """Refuse rules that QEMU refuses when the VM starts."""
    taken: dict[tuple[str, int], dict[str, str]] = {}
    for rule in rules:
        match = _RULE.fullmatch(rule)
        if not match:
            raise DeclarationError(where, f"{rule!r} is not PROTOCOL:[HOST]:PORT-[GUEST]:PORT")
        protocol, address, port, guest_address, guest_port = match.groups()
        if int(port) > 65535 or not 0 < int(guest_port) <= 65535:
            raise DeclarationError(where, f"{rule!r}: a port is a number from 1 to 65535")
        if re.match("0.", port) or re.match("0.", guest_port):
            raise DeclarationError(where, f"{rule!r}: QEMU reads a port that begins with 0 as an octal number")
        for text in filter(None, (address, guest_address)):
            _check_address(text, rule, where)
        address = address or _ALL
        others = taken.setdefault((protocol, int(port)), {})
        same = next((other for of, other in others.items() if _ALL in (of, address) or of == address), "")
        if same and int(port):
            raise DeclarationError(where, f"{rule!r}: {same!r} forwards this port, too")
        others[address] = rule


def _check_address(text: str, rule: str, where: str) -> None:
    try:
        IPv4Address(text)
    except ValueError:
        raise DeclarationError(
            where, f"{rule!r}: {text!r} is not an IPv4 address, and QEMU takes no other one"
        ) from None
