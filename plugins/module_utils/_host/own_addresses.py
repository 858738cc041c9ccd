# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The addresses of this host, by which a client of storage is known to be one of this host."""

from __future__ import annotations

import ipaddress
import re

_IPV4, _IPV6 = "/proc/net/fib_trie", "/proc/net/if_inet6"
_LOCAL = re.compile(r"\|-- ([0-9.]+)\n\s+/32 host LOCAL\n")


def own_addresses() -> list[str]:
    """Return the addresses of this host's interfaces, without those that every host has."""
    found = [ipaddress.ip_address(text) for text in _LOCAL.findall(_text_of(_IPV4))]
    numbers = (line.split()[0] for line in _text_of(_IPV6).splitlines())
    addresses = [*found, *(ipaddress.ip_address(int(number, 16).to_bytes(16, "big")) for number in numbers)]
    return sorted({str(address) for address in addresses if not address.is_loopback})


def _text_of(path: str) -> str:
    try:
        with open(path, encoding="ascii") as stream:
            return stream.read()
    except OSError:
        return ""
