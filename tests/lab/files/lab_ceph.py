# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""lab_ceph.py mon|osd|content: what the lab's Ceph needs before its daemons start, and what it has in it."""

from __future__ import annotations

import configparser
import json
import shutil
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

STATE = Path("/srv/ceph")
KEYRINGS = Path("/etc/directdisk-lab/ceph")
IMAGES = Path("/srv/rbd")
AS_CEPH = ("--setuser", "ceph", "--setgroup", "ceph")
CHUNK = 4 << 20


def run(*argv: str, stdin: str = "") -> str:
    return subprocess.run(argv, input=stdin, stdout=subprocess.PIPE, check=True, text=True).stdout


def ini(path: Path) -> configparser.ConfigParser:
    """ceph.conf or a keyring: both are such files."""
    parser = configparser.ConfigParser()
    parser.read(path)
    return parser


def new_folder(path: Path) -> Path:
    """An empty folder of the user ceph: what a run that was cut short left goes."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    shutil.chown(path, "ceph", "ceph")
    return path


def copy_keyring(daemon: str, folder: Path) -> Path:
    keyring = folder / "keyring"
    keyring.touch(mode=0o600)
    shutil.copyfile(KEYRINGS / f"{daemon}.keyring", keyring)
    shutil.chown(keyring, "ceph", "ceph")
    return keyring


def make_monitor() -> None:
    made = STATE / "mon" / "made"
    if made.exists():
        return
    new_folder(made.parent)
    draft = new_folder(Path("/run/lab-ceph"))  # not in the new folder: a store is only made in an empty one
    keyring, monmap = copy_keyring("mon", draft), str(draft / "monmap")
    conf = ini(Path("/etc/ceph/ceph.conf"))["global"]
    run("monmaptool", "--create", "--addv", "a", conf["mon_host"], "--fsid", conf["fsid"], monmap)
    run("ceph-mon", "--mkfs", "--id=a", f"--monmap={monmap}", f"--keyring={keyring}", *AS_CEPH)
    made.touch()


def make_osd() -> None:
    """Announce the OSD to the monitor, and make its data."""
    made = STATE / "osd" / "made"
    if made.exists():
        return
    keyring = copy_keyring("osd", new_folder(made.parent))
    key = ini(keyring)["osd.0"]["key"]
    name = str(uuid.uuid5(uuid.NAMESPACE_OID, key))
    run("ceph", "--connect-timeout=30", "osd", "new", name, "0", "-i", "-", stdin=json.dumps({"cephx_secret": key}))
    run("ceph-osd", "--mkfs", "--id=0", f"--osd-uuid={name}", *AS_CEPH)
    made.touch()


def command(cluster: Any, prefix: str, content: bytes = b"", **arguments: Any) -> Any:
    """Ask the monitor; its answer, from JSON."""
    query = json.dumps({"prefix": prefix, "format": "json", **arguments})
    status, answer, words = cluster.mon_command(query, content, timeout=30)
    if status:
        raise SystemExit(f"lab_ceph: {prefix}: {words}")
    return json.loads(answer) if answer else None


def wait_for_osd(cluster: Any) -> None:
    for _attempt in range(600):
        if command(cluster, "osd stat")["num_up_osds"]:
            return
        time.sleep(0.05)
    raise SystemExit("lab_ceph: the OSD does not come up")


def import_image(io: Any, path: Path) -> None:
    """Write an image that is not there yet, under a name that nobody uses until it is whole."""
    import rbd

    images, part = rbd.RBD(), f"{path.name}.part"
    if path.name in images.list(io):
        return
    if part in images.list(io):
        images.remove(io, part)
    content = path.read_bytes()
    images.create(io, part, len(content))
    with rbd.Image(io, part) as image:
        for offset in range(0, len(content), CHUNK):
            image.write(content[offset : offset + CHUNK], offset)
    images.rename(io, part, path.name)


def fill(cluster: Any) -> None:
    """Make users, and the pools, namespaces and images of the files /srv/rbd/POOL/[NAMESPACE/]IMAGE."""
    import rbd

    command(cluster, "auth import", (KEYRINGS / "users.keyring").read_bytes())
    files = sorted(path for path in IMAGES.rglob("*") if path.is_file())
    for pool in sorted({path.relative_to(IMAGES).parts[0] for path in files} - set(cluster.list_pools())):
        command(cluster, "osd pool create", pool=pool)
        command(cluster, "osd pool application enable", pool=pool, app="rbd")
    for path in files:
        pool, *folders = path.relative_to(IMAGES).parts[:-1]
        with cluster.open_ioctx(pool) as io:
            for namespace in folders:
                if not rbd.RBD().namespace_exists(io, namespace):
                    rbd.RBD().namespace_create(io, namespace)
                io.set_namespace(namespace)
            import_image(io, path)


def fill_cluster() -> None:
    import rados

    with rados.Rados(conffile="/etc/ceph/ceph.conf", conf={"client_mount_timeout": "30"}) as cluster:
        wait_for_osd(cluster)
        fill(cluster)


if __name__ == "__main__":
    {"mon": make_monitor, "osd": make_osd, "content": fill_cluster}[sys.argv[1]]()
