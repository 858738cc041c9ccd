# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of networks and paths that a systemd unit must be able to express."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_network

from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError


def check_networks(networks: Iterable[str]) -> None:
    """Refuse text that is not a network in CIDR form; a single address is one."""
    for network in networks:
        try:
            ip_network(network)
        except ValueError:
            raise DeclarationError("networks", f"{network!r} is not a network such as 192.0.2.0/24") from None


def check_mountable(option: str, path: str) -> None:
    """Refuse a path that a unit cannot mount: systemd 257 loses quotes and backslashes on the way to its executor."""
    if set("'\"\\\t") & set(path):
        raise DeclarationError(
            option, f"{path!r} has a quote, a backslash or a tab in it, which systemd cannot mount; rename it"
        )


def check_loadable(option: str, path: str) -> None:
    """Refuse a path that a unit cannot load a credential from.

    At the end of the line a backslash swallows the next one, and spaces are lost; in the middle systemd 257 loses both.
    """
    if set(" \t\\") & set(path):
        raise DeclarationError(
            option, f"{path!r} has a space, a tab or a backslash in it, which systemd cannot load; rename it"
        )


def check_allowable(option: str, path: str) -> None:
    """Refuse a device that a unit cannot be allowed to use: systemd 257 parts its name at a space."""
    if set(" \t") & set(path):
        raise DeclarationError(option, f"{path!r} has a space or a tab in it, which systemd cannot allow; name a link")
