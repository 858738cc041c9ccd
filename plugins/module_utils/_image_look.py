# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looks at images, each as its kind of storage allows."""

from __future__ import annotations

import hashlib
import re
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils import _files
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import QmpError
from ansible_collections.directdisk.qemu.plugins.module_utils._header import Header
from ansible_collections.directdisk.qemu.plugins.module_utils._hints import storage_errors
from ansible_collections.directdisk.qemu.plugins.module_utils._lifecycle import Seen, Wanted
from ansible_collections.directdisk.qemu.plugins.module_utils._running import machines_that_open
from ansible_collections.directdisk.qemu.plugins.module_utils._store import Store
from ansible_collections.directdisk.qemu.plugins.module_utils._workbench import Storage, Workbench

_MISSING = re.compile("NFS3ERR_NOENT|No such file")
"""How the storage of images that are files says that there is none."""
_MACHINE_ID = "/etc/machine-id"


def temporary(path: str) -> str:
    """Where this host makes an image, beside its place: two hosts that make the same one do not meet."""
    host = hashlib.sha256(_files.read_text(_MACHINE_ID).encode()).hexdigest()[:8]
    return f"{path}.unfinished-{host}"


def look_at_file(wanted: Wanted, store: Store, bench: Workbench) -> Seen:
    """An image that is a file."""
    disk = wanted.disk
    opened = {"opened_by": machines_that_open(disk.backend.identity(disk.source))}
    try:
        with bench.storage(disk) as storage:
            found = {**look_inside(wanted, storage), **opened}
    except QmpError as error:
        if not _MISSING.search(str(error)):
            raise
        return {"exists": False, **opened, "around": _around(wanted, store, bench)}
    if wanted.state == "absent" or _must_be_made_anew(wanted, found):
        found["around"] = _around(wanted, store, bench)
    return found


def _must_be_made_anew(wanted: Wanted, found: Seen) -> bool:
    return bool(wanted.provision.get("overwrite")) and "problem" in found


def look_inside(wanted: Wanted, storage: Storage) -> dict[str, Any]:
    """What there is, and in ``problem`` why that is not what is declared, where it is not."""
    disk = wanted.disk
    header = storage.header()
    problem = _why_not_declared(disk, header)
    if problem:
        found = {"size": storage.describe()["virtual-size"], "format": header.format}
        return {"exists": True, **found, "encrypted": _is_encrypted(header), "problem": problem}
    with storage.image() as image:
        size = image.describe()["virtual-size"]
    found = {"exists": True, "size": size, "format": disk.settings["format"], "encrypted": "luks" in disk.settings}
    if header.format == "qcow2":
        found.update(cluster_size=header.cluster_size, backing=header.backing)
    if "sha256" in wanted.provision:
        with storage.accessed() as stored:
            found["sha256"] = stored.sha256()
        if found["sha256"] != wanted.provision["sha256"]:
            found["problem"] = f"its sha256 is {found['sha256']}, and {wanted.provision['sha256']} is declared"
    return found


def _is_encrypted(header: Header) -> bool:
    return header.encrypted or header.format == "luks"


def _why_not_declared(disk: Disk, header: Header) -> str:
    """A raw image is what it is declared as, whatever it looks like."""
    if disk.settings["format"] == "qcow2":
        if header.format != "qcow2":
            return "it is declared as qcow2, but it is none"
        if header.encrypted != ("luks" in disk.settings):
            return (
                f"it is {'' if header.encrypted else 'not '}encrypted, and luks is {'not ' * header.encrypted}declared"
            )
        return ""
    return "luks is declared, but it is not encrypted with it" * ("luks" in disk.settings and header.format != "luks")


def _around(wanted: Wanted, store: Store, bench: Workbench) -> dict[str, Any]:
    """What matters before an image is made or removed: its folder, what was left there, what it begins as."""
    path, found = store.path(wanted.disk), dict[str, Any]()
    with storage_errors(wanted.disk), store.files(wanted.disk, bench) as files:
        found["folder"] = files.folder(path)
        if files.kind(temporary(path)) != "missing":
            found["unfinished"] = temporary(path)
    if wanted.disk.origin and wanted.state == "present":
        with bench.image(wanted.disk.origin) as origin:
            found["source_size"] = origin.describe()["virtual-size"]
    return found
