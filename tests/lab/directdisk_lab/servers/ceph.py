# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ceph: one monitor, one OSD on a file (bluestore: it survives kill -9), cephx, no manager."""

from __future__ import annotations

import base64
import os
import struct
import time
import uuid

from ..host_files import Files
from ..settings import FILES, Settings
from ..yaml_text import Value
from .server import ETC, LIB, SYSTEM, Server, Site

UNITS = ("ceph-mon@a.service", "ceph-osd@0.service")
POOL, SPARE_POOL, NAMESPACE = "rbd", "spare", "tenant"
MSGR1_PORT, MSGR2_PORT = 6789, 3300
# Keyring entries: name, secret with the key, capabilities.
MONITOR = ("mon.", "lab_ceph_mon_key", {"mon": "allow *"})
ADMIN = ("client.admin", "lab_ceph_admin_key", {"mon": "allow *", "osd": "allow *", "mgr": "allow *"})
OSD: tuple[str, str, dict[str, str]] = ("osd.0", "lab_ceph_osd_key", {})
QEMU = (
    "client.qemu",
    "lab_ceph_key",
    {"mon": "profile rbd", "osd": f"profile rbd pool={POOL}, profile rbd pool={SPARE_POOL}"},
)
TENANT = (
    "client.tenant",
    "lab_ceph_tenant_key",
    {"mon": "profile rbd", "osd": f"profile rbd pool={POOL} namespace={NAMESPACE}"},
)


def new_key() -> str:
    """A cephx key: type, time of creation, length, secret."""
    secret = os.urandom(16)
    return base64.b64encode(struct.pack("<HIIH", 1, int(time.time()), 0, len(secret)) + secret).decode()


def _keyring(site: Site, *entries: tuple[str, str, dict[str, str]]) -> str:
    lines = []
    for name, secret, capabilities in entries:
        lines += [f"[{name}]", f"key = {site.secrets[secret]}"]
        lines += [f'caps {kind} = "{what}"' for kind, what in capabilities.items()]
    return "".join(f"{line}\n" for line in lines)


def _conf(site: Site) -> str:
    return (
        (FILES / "ceph.conf")
        .read_text()
        .format(
            fsid=site.secrets["lab_ceph_fsid"],
            monitor=f"[v2:{site.address}:{MSGR2_PORT},v1:{site.address}:{MSGR1_PORT}]",
            network=site.settings.subnet,
        )
    )


def _files(site: Site) -> Files:
    files = Files()
    files.add("etc/ceph/ceph.conf", _conf(site))
    files.add("etc/ceph/ceph.client.admin.keyring", _keyring(site, ADMIN), 0o600)
    files.add(f"{ETC}/ceph/mon.keyring", _keyring(site, MONITOR, ADMIN), 0o600)
    files.add(f"{ETC}/ceph/osd.keyring", _keyring(site, OSD), 0o600)
    files.add(f"{ETC}/ceph/users.keyring", _keyring(site, QEMU, TENANT), 0o600)
    files.add_own(f"{LIB}/lab_ceph.py", "lab_ceph.py")
    for kind in ("mon", "osd"):
        files.add_own(f"{SYSTEM}/ceph-{kind}@.service.d/lab.conf", f"ceph-{kind}.conf")
    return files


def _facts(site: Site) -> dict[str, Value]:
    return {
        "lab_ceph_monitors": [site.address],
        "lab_ceph_port": MSGR1_PORT,
        "lab_ceph_msgr2_port": MSGR2_PORT,
        "lab_ceph_user": QEMU[0].split(".")[1],
        "lab_ceph_pool": POOL,
        "lab_ceph_spare_pool": SPARE_POOL,
        "lab_ceph_namespace": NAMESPACE,
        "lab_ceph_tenant_user": TENANT[0].split(".")[1],
    }


def _secrets(settings: Settings) -> dict[str, str]:
    keys = {secret: new_key() for _name, secret, _capabilities in (MONITOR, ADMIN, OSD, QEMU, TENANT)}
    return {**keys, "lab_ceph_fsid": str(uuid.uuid4())}


SERVER = Server(
    "rbd",
    UNITS,
    _files,
    after=lambda site: f"/usr/bin/python3 /{LIB}/lab_ceph.py content",
    facts=_facts,
    secrets=_secrets,
)
