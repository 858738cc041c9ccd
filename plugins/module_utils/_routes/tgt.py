# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The route tgt: a tgtd with a user of its own serves one disk as iSCSI on a loopback address of its own."""

from __future__ import annotations

import hashlib

from ansible_collections.directdisk.qemu.plugins.module_utils._backends.access import Reach, TgtStore
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.contract import Backend
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.registry import BACKENDS
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.values import Node, Values
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError
from ansible_collections.directdisk.qemu.plugins.module_utils._routes.capabilities import Capabilities
from ansible_collections.directdisk.qemu.plugins.module_utils._routes.contract import Opened, Route, Site
from ansible_collections.directdisk.qemu.plugins.module_utils._units import paths
from ansible_collections.directdisk.qemu.plugins.module_utils._units.sandbox import build_sandbox
from ansible_collections.directdisk.qemu.plugins.module_utils._units.service import Command, Service

PROGRAM = "/usr/sbin/tgtd"
TARGET = "iqn.2026-01.directdisk:disk"
USER = "qemu"
PORT = 326
"""Below 1024, so that no other user of the host can listen there while tgtd is down: QEMU would log in, and does not
authenticate the server. Not assigned, and below the ports that clients of NFS and GlusterFS use."""
LOOPBACK = "127.0.0.0/8"
"""Answers come from another address of it than the one that was asked."""


def _packages(backend: Backend, family: str) -> tuple[str, ...]:
    own, driver = backend.packages.tgt.get(family, ()), BACKENDS["iscsi"].packages.driver.get(family, ())
    # One without the other would not do.
    return (*own, *driver) if own and driver else ()


def _why_not(backend: Backend, values: Values, capabilities: Capabilities) -> str:
    if not capabilities.programs.get("tgtd"):
        return "this host has no tgtd"
    reason = capabilities.tgt.get(backend.name, "was not probed")
    if reason:
        return f"tgtd cannot serve {backend.name} ({reason})"
    driver = capabilities.drivers.get("iscsi", "was not probed")
    return f"this QEMU has no iscsi driver ({driver})" if driver else ""


def store_of(disk: Disk) -> TgtStore:
    if not disk.backend.access.tgt:
        raise DeclarationError("route", f"tgtd does not serve {disk.backend.name}")
    return disk.backend.access.tgt(disk.source)


def loopback_address(vm: str, disk: str) -> str:
    """Return the loopback address of a disk; 127.0.x.x is not used."""
    digest = hashlib.sha256(f"{vm}/{disk}".encode()).digest()
    return f"127.{1 + digest[0] % 254}.{digest[1]}.{1 + digest[2] % 254}"


def _open(disk: Disk, site: Site) -> Opened:
    unit = paths.helper_unit_name(site.vm, disk.name, ROUTE.name)
    directory = paths.helper_directory(site.vm, disk.name)
    address, chap = loopback_address(site.vm, disk.name), f"{directory}/chap"
    store, reach = store_of(disk), disk.backend.access.reach(disk.source)
    service = Service(
        name=unit,
        template="tgt.service.j2",
        vm=site.vm,
        description=f"tgtd for disk {disk.name} of virtual machine {site.vm}",
        args=[(PROGRAM,), ("--foreground",), ("--iscsi", f"portal={address}:{PORT}")],
        sandbox=build_sandbox(
            [(reach, True), (Reach(servers=(LOOPBACK,)), True)],
            directory=paths.directory_name(site.vm, disk.name),
            replace_trust=False,
        ),
        credentials={},
        environment={"TGT_IPC_SOCKET": f"{directory}/tgtd"},
        start_timeout=site.start_timeout,
        part=disk.name,
        capabilities=("CAP_NET_BIND_SERVICE",),
        binds=f"ipv4:tcp:{PORT}",
        # systemd does not remove the link to the folder, because the folder is preserved during a restart.
        after=(Command(("/bin/rm", "--force", "--", directory), privileged=True),),
        ready=(
            *(*paths.PYTHON, paths.TGT_PROGRAM, f"{directory}/tgtd.0"),
            *(f"{address}:{PORT}", TARGET, store.kind, store.name, chap, USER, str(site.start_timeout)),
        ),
    )
    # Only the unit itself and root can read the folder, so systemd passes the secret as a credential.
    secret = site.resources.object("secret", "chap", file=site.resources.credential("chap", source=chap))
    return Opened(node(f"{address}:{PORT}", secret), Reach(servers=(LOOPBACK,)), (service,))


def node(portal: str, secret: str) -> Node:
    """Return QEMU's node for tgtd's target; secret: id of the object with its password."""
    return {
        "driver": "iscsi",
        "transport": "tcp",
        "portal": portal,
        "target": TARGET,
        "lun": 1,
        "user": USER,
        "password-secret": secret,
    }


ROUTE = Route("tgt", _packages, _why_not, _open, grows=False, programs=("tgtd",))
