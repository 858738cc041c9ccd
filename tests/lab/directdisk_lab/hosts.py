# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which hosts the lab has, and what goes into their images: data only."""

from __future__ import annotations

from dataclasses import dataclass

BASE = (
    "systemd systemd-sysv dbus dbus-user-session libpam-systemd libnss-systemd"
    " python3 python3-apt openssh-server openssh-client sudo iproute2 procps ca-certificates"
)
HYPERVISOR = "qemu-system-x86 qemu-utils ovmf libnbd-bin socat"
STORAGE = (
    "nginx-light nbdkit libnbd-bin qemu-utils openssl gnutls-bin python3-rados python3-rbd"
    " ceph-mon ceph-osd ceph-common tgt libiscsi-bin nfs-ganesha nfs-ganesha-vfs rpcbind libnfs-utils"
    " glusterfs-server vsftpd tftpd-hpa"
)

# In the image only as a local repository: what role storage_client has to install. Every suite has them all, but
# for those in NOT_PACKAGED.
HELD_BACK = {
    "hypervisors": (
        "acl qemu-block-extra nbdkit curl python3-rados python3-rbd libiscsi-bin libnfs-utils glusterfs-common"
        " tgt tgt-glusterfs swtpm"
    )
}
NOT_PACKAGED = {"bullseye": {"swtpm"}}

# Source packages of which the mirrors no longer have all security updates: as they were released.
AS_RELEASED = {"bullseye": "ceph libnfs tgt"}

GROUP_PACKAGES = {"hypervisors": HYPERVISOR, "storage": STORAGE}


@dataclass(frozen=True)
class Host:
    """One container: its group decides what is installed and provisioned."""

    name: str
    suite: str
    group: str
    offset: int  # address within the lab's subnet
    default: bool = True  # started by a plain `lab up`

    @property
    def packages(self) -> list[str]:
        return sorted(set(f"{BASE} {GROUP_PACKAGES[self.group]} {self.held_back}".split()))

    @property
    def held_back(self) -> str:
        names = HELD_BACK.get(self.group, "").split()
        return " ".join(name for name in names if name not in NOT_PACKAGED.get(self.suite, ()))

    @property
    def as_released(self) -> list[str]:
        return AS_RELEASED.get(self.suite, "").split()

    @property
    def image_name(self) -> str:
        return f"{self.suite}-{self.group}"


HOSTS = (
    Host("hv1", "bookworm", "hypervisors", 11),
    Host("hv2", "trixie", "hypervisors", 12),
    Host("hv3", "sid", "hypervisors", 13, default=False),
    Host("hv4", "bullseye", "hypervisors", 14, default=False),
    Host("storage1", "trixie", "storage", 20),
)
BY_NAME = {host.name: host for host in HOSTS}
HYPERVISORS = tuple(host.name for host in HOSTS if host.group == "hypervisors")
