# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""GlusterFS: one volume with one brick, open to processes that are not root."""

from __future__ import annotations

from ..disks import STORAGE_USER
from ..host_files import Files
from ..yaml_text import Value
from .server import Server, Site

VOLUME = "gv"
BRICK = "/srv/gluster"
# A machine's process has a user of its own, which Gluster does not know: it takes everybody for the owner of the disks.
OPTIONS = {
    "server.allow-insecure": "on",
    "server.all-squash": "on",
    "server.anonuid": STORAGE_USER,
    "server.anongid": STORAGE_USER,
    "storage.owner-uid": STORAGE_USER,
    "storage.owner-gid": STORAGE_USER,
    "performance.write-behind": "off",  # it says done before the brick has it, and loses that with the brick
}
# A brick takes what lay in its folder before: the disks that the lab wrote there.
CREATE = """\
set -e
exec >&2
if ! gluster --mode=script volume info {volume} >/dev/null 2>&1; then
  gluster --mode=script volume create {volume} {address}:{brick} force
  gluster --mode=script volume set {volume} {options}
fi
gluster --mode=script volume info {volume} | grep -qx 'Status: Started' || gluster --mode=script volume start {volume}
"""


def _files(site: Site) -> Files:
    files = Files()
    files.add_own("etc/glusterfs/glusterd.vol", "glusterd.vol")
    return files


def _after(site: Site) -> str:
    options = " ".join(f"{name} {value}" for name, value in OPTIONS.items())
    return CREATE.format(volume=VOLUME, address=site.address, brick=BRICK, options=options)


def _facts(site: Site) -> dict[str, Value]:
    return {"lab_gluster_port": 24007, "lab_gluster_volume": VOLUME}


SERVER = Server(
    "gluster", ("glusterd.service",), _files, before=lambda site: "mkdir -p /srv/glusterd", after=_after, facts=_facts
)
