# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which disk with which marker lives where: the one table to extend.

Every disk is a tiny guest that prints its marker when it boots; `marker=""` makes an empty disk.
Places: `images` is served by http(s), `nbd` is exported by file name, `vms` holds plain files, `block` is a
loop device.
"""

from __future__ import annotations

from dataclasses import dataclass

from .hosts import HOSTS

MIB = 1 << 20


@dataclass(frozen=True)
class Disk:
    """A disk image on a host; its file is /srv/<place>/<name> there."""

    host: str
    place: str
    name: str
    marker: str
    size: int = MIB
    room: int = 0  # the file is at least this long: space for a qcow2 that cannot grow

    @property
    def format(self) -> str:
        return "qcow2" if self.name.endswith(".qcow2") else "raw"

    @property
    def path(self) -> str:
        """Where a program on the host finds the disk."""
        return f"/dev/disk/by-id/lab-{self.name}" if self.place == "block" else f"/srv/{self.place}/{self.name}"

    @property
    def mode(self) -> int:
        """Root's alone on a hypervisor, as a real host keeps them; open to the servers elsewhere."""
        return {"images": 0o644, "vms": 0o600}.get(self.place, 0o666)


HYPERVISORS = tuple(host.name for host in HOSTS if host.group == "hypervisors")
WEB_MARKERS = ("http", "https", "auth", "cookie", "norange")
NBD_TRANSPORTS = ("nbd", "nbds", "nbdpsk", "nbdunix")

DISKS = (
    *(
        Disk("storage1", "images", f"{marker}.{suffix}", f"{marker}-{suffix}")
        for marker in WEB_MARKERS
        for suffix in ("raw", "qcow2")
    ),
    Disk("storage1", "images", "big.raw", "big", size=64 * MIB),
    *(
        Disk("storage1", "nbd", f"{transport}-{host}", f"{transport}-{host}")
        for transport in NBD_TRANSPORTS
        for host in HYPERVISORS
    ),
    *(
        Disk(
            "storage1",
            "nbd",
            f"nbd-{host}.qcow2",
            f"nbd-qcow2-{host}",
            size=8 * MIB,
            room=16 * MIB,
        )
        for host in HYPERVISORS
    ),
    *(
        disk
        for host in HYPERVISORS
        for disk in (
            Disk(host, "vms", "file.raw", f"file-{host}"),
            Disk(host, "vms", "file.qcow2", f"file-qcow2-{host}"),
            Disk(host, "nbd", "local", f"local-{host}"),
            Disk(host, "block", "root", f"block-{host}"),
            Disk(host, "block", "data", "", size=64 * MIB),
        )
    ),
)
