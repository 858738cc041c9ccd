# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The route nbdkit: an nbdkit process of the machine's own user serves one disk on a unix socket."""

from __future__ import annotations

from ansible_collections.directdisk.qemu.plugins.module_utils._backend import NbdkitPlugin, Node
from ansible_collections.directdisk.qemu.plugins.module_utils._paths import nbdkit_directory

PROGRAM = "/usr/bin/nbdkit"
PACKAGES = {
    "debian": ("nbdkit",),
    "redhat": ("nbdkit-server", "nbdkit-curl-plugin", "nbdkit-basic-filters"),
    "fedora": ("nbdkit-server", "nbdkit-curl-plugin", "nbdkit-basic-filters"),
    "suse": ("nbdkit-server", "nbdkit-curl-plugin", "nbdkit-basic-filters"),
    "arch": ("nbdkit",),
}
RECONNECT_DELAY = 60
"""Seconds for which requests wait when nbdkit itself has died; its unit starts it again within two."""


def socket_path(vm: str, disk: str) -> str:
    return f"{nbdkit_directory(vm, disk)}/nbd.sock"


def pid_path(vm: str, disk: str) -> str:
    return f"{nbdkit_directory(vm, disk)}/nbdkit.pid"


def node(vm: str, disk: str) -> Node:
    """The node with which QEMU opens what nbdkit serves."""
    return {
        "driver": "nbd",
        "server": {"type": "unix", "path": socket_path(vm, disk)},
        "reconnect-delay": RECONNECT_DELAY,
    }


def argv(plugin: NbdkitPlugin, vm: str, disk: str) -> list[str]:
    """The command line: read-only, and into the background once the socket accepts, when it is ready."""
    return [
        PROGRAM,
        "--readonly",
        f"--unix={socket_path(vm, disk)}",
        f"--pidfile={pid_path(vm, disk)}",
        "--log=syslog",
        *(f"--filter={name}" for name in plugin.filters),
        plugin.name,
        *plugin.parameters,
    ]
