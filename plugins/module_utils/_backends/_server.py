# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Common functions of backends with a server at ``host`` and ``port``, or at a ``socket`` of the host."""

from __future__ import annotations

from ansible_collections.directdisk.qemu.plugins.module_utils._backends import uris
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.access import Reach
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.values import Node, Values
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError
from ansible_collections.directdisk.qemu.plugins.module_utils._options.option import Option


def host_option(summary: str, *, required: bool = False) -> Option:
    """Return the option of the server's name or address."""
    return Option("host", summary, required=required, pattern=r"[^\s/]+", pattern_help="is not a name or address")


def port_option(summary: str) -> Option:
    """Return the option of the server's port."""
    return Option("port", summary, "int", minimum=1, maximum=65535)


def address(values: Values, default_port: int) -> Node:
    """Return the server as QEMU's SocketAddress."""
    if "socket" in values:
        return {"type": "unix", "path": values["socket"]}
    return {"type": "inet", "host": values["host"], "port": str(values.get("port", default_port))}


def check(values: Values) -> None:
    """Refuse what names no server, or two."""
    if ("host" in values) == ("socket" in values):
        raise DeclarationError("", "exactly one of host and socket is required")
    if "socket" in values and "port" in values:
        raise DeclarationError("port", "is given together with socket")


def describe(values: Values, default_port: int) -> str:
    """Return the server in its canonical spelling."""
    return str(values.get("socket") or f"{uris.same_host(values['host'])}:{values.get('port', default_port)}")


def is_own(values: Values) -> bool:
    """Return True if each host has its own server there."""
    return "socket" in values or uris.is_loopback(values["host"])


def reach(values: Values) -> Reach:
    """Return what must be reachable for the server."""
    return Reach(sockets=(values["socket"],)) if "socket" in values else Reach(servers=(values["host"],))
