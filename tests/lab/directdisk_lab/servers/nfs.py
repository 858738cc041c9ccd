# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""NFS-Ganesha, version 3 behind a portmapper, over /srv/nfs, a folder of the machine: overlayfs has no handles."""

from __future__ import annotations

from ..disks import STORAGE_USER
from ..host_files import Files
from ..yaml_text import Value
from .server import Server, Site

EXPORT, SMALL = "/srv/nfs", "/srv/nfs-small"
# A file system that a test can fill. It is mounted in the container, so it goes with it.
MAKE_SMALL = f"""mountpoint -q {SMALL} || {{
  rm -f {SMALL}.ext4 && truncate -s 4M {SMALL}.ext4 && mkfs.ext4 -q -O ^has_journal {SMALL}.ext4
  mkdir -p {SMALL} && mount -o loop {SMALL}.ext4 {SMALL} && chmod 777 {SMALL}
}}"""
WAIT = "timeout 20 sh -c 'until rpcinfo -t 127.0.0.1 mountd 3 >/dev/null 2>&1; do sleep 0.05; done'"


def _files(site: Site) -> Files:
    files = Files()
    files.add_own("etc/ganesha/ganesha.conf", "ganesha.conf")
    return files


def _facts(site: Site) -> dict[str, Value]:
    return {
        "lab_nfs_export": EXPORT,
        "lab_nfs_small": SMALL,
        "lab_nfs_user": STORAGE_USER,
        "lab_nfs_group": STORAGE_USER,
    }


SERVER = Server(
    "nfs",
    ("rpcbind.service", "nfs-ganesha.service"),
    _files,
    before=lambda site: MAKE_SMALL,
    after=lambda site: WAIT,
    facts=_facts,
)
