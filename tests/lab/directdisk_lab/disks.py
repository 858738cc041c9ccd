# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which disk with which marker lives where: the one table to extend.

Every disk is a tiny guest that prints its marker when it boots; `marker=""` makes an empty disk. Whatever can be
written is there once for each hypervisor, so that no two ever write the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from .hosts import HYPERVISORS

MIB = 1 << 20
STORAGE_USER = 1000  # owns what is on NFS, Gluster and behind ssh


@dataclass(frozen=True)
class Place:
    """A kind of folder below /srv, what serves it, and whose its files are."""

    purpose: str
    mode: int
    owner: int = 0
    path: str = ""  # how a client finds a disk; else its file's path on the host


PLACES = {
    "images": Place("read-only, over http(s), ftp(s) and tftp", 0o644),
    "nbd": Place("NBD exports by file name", 0o666),
    "qemu-nbd": Place("each the one export of a qemu-nbd", 0o666),
    "iscsi": Place("LUNs", 0o600),
    "nfs": Place("the NFS export", 0o600, STORAGE_USER),
    "ssh": Place("files of the ssh user", 0o600, STORAGE_USER),
    "gluster": Place("the brick of the Gluster volume", 0o600, STORAGE_USER, path="{name}"),
    "rbd": Place("imported into Ceph once: pool/image or pool/namespace/image", 0o600, path="{name}"),
    "sheepdog": Place("VDIs by file name", 0o600, path="{name}"),
    "vms": Place("plain files of a hypervisor: root's alone, as a real host keeps them", 0o600),
    "block": Place("loop devices", 0o666, path="/dev/disk/by-id/lab-{name}"),
}
WEB_MARKERS = ("http", "https", "auth", "cookie", "norange", "ftp", "ftps", "tftp")
NBD_TRANSPORTS = ("nbd", "nbds", "nbdpsk", "nbdunix")
RBD_MARKERS = {"rbd": "rbd", "rbd/tenant": "rbd-tenant", "spare": "rbd-spare"}
PACKED = ("raw.xz", "qcow2.xz", "raw.gz", "tar")  # packed.tar has the one member packed.raw
PACKINGS = (".xz", ".gz", ".tar")


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
    def packing(self) -> str:
        """Packing of the image: the suffix, or nothing."""
        suffix = PurePosixPath(self.name).suffix
        return suffix if suffix in PACKINGS else ""

    @property
    def format(self) -> str:
        """The image's format, unpacked."""
        return "qcow2" if self.name.removesuffix(self.packing).endswith(".qcow2") else "raw"

    @property
    def path(self) -> str:
        """Place of the disk for a program: a path on the host, or a name that the server knows."""
        pattern = PLACES[self.place].path or "/srv/{place}/{name}"
        return pattern.format(place=self.place, name=self.name)


def both_formats(place: str, marker: str, host: str) -> Iterator[Disk]:
    yield Disk("storage1", place, f"{marker}-{host}", f"{marker}-{host}")
    yield Disk("storage1", place, f"{marker}-{host}.qcow2", f"{marker}-qcow2-{host}")


def served(host: str) -> Iterator[Disk]:
    """Disks that storage1 keeps for a hypervisor."""
    for transport in NBD_TRANSPORTS:
        yield Disk("storage1", "nbd", f"{transport}-{host}", f"{transport}-{host}")
    yield Disk("storage1", "nbd", f"nbd-{host}.qcow2", f"nbd-qcow2-{host}", size=8 * MIB, room=16 * MIB)
    for place in ("nfs", "ssh", "gluster"):
        yield from both_formats(place, place, host)
    for pool, marker in RBD_MARKERS.items():
        yield Disk("storage1", "rbd", f"{pool}/{marker}-{host}", f"{marker}-{host}")
    yield Disk("storage1", "iscsi", f"iscsi-{host}", f"iscsi-{host}")
    yield Disk("storage1", "iscsi", f"iscsi-data-{host}", "", size=64 * MIB)
    yield Disk("storage1", "iscsi", f"iscsi-open-{host}", f"iscsi-open-{host}")
    for place in ("qemu-nbd", "sheepdog"):
        yield Disk("storage1", place, f"{place}-{host}", f"{place}-{host}")


def local(host: str) -> Iterator[Disk]:
    """Disks that a hypervisor has itself."""
    yield Disk(host, "vms", "file.raw", f"file-{host}")
    yield Disk(host, "vms", "file.qcow2", f"file-qcow2-{host}")
    for suffix in PACKED:
        yield Disk(host, "vms", f"packed.{suffix}", f"packed-{suffix.replace('.', '-')}-{host}")
    yield Disk(host, "qemu-nbd", "local", f"local-{host}")
    yield Disk(host, "block", "root", f"block-{host}")
    yield Disk(host, "block", "data", "", size=64 * MIB)


DISKS = (
    *(
        Disk("storage1", "images", f"{marker}.{suffix}", f"{marker}-{suffix}")
        for marker in WEB_MARKERS
        for suffix in ("raw", "qcow2")
    ),
    *(Disk("storage1", "images", f"packed.{suffix}", f"packed-{suffix.replace('.', '-')}") for suffix in PACKED),
    Disk("storage1", "images", "big.raw", "big", size=64 * MIB),
    *(disk for host in HYPERVISORS for disk in (*served(host), *local(host))),
)
