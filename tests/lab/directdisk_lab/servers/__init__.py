# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's servers, one file each."""

from __future__ import annotations

from ..hosts import Host
from . import ceph, ftp, gluster, iscsi, nbd, nfs, qemu_nbd, sheepdog, ssh, tftp, web
from .server import Server

SERVERS: tuple[Server, ...] = (
    web.SERVER,
    nbd.SERVER,
    qemu_nbd.SERVER,
    qemu_nbd.LOCAL,
    ceph.SERVER,
    iscsi.SERVER,
    nfs.SERVER,
    ssh.SERVER,
    ftp.SERVER,
    tftp.SERVER,
    gluster.SERVER,
    sheepdog.SERVER,
)


def of_host(host: Host) -> list[Server]:
    return [server for server in SERVERS if server.group == host.group]
