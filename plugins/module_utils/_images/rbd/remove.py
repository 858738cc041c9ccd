# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Removes rbd images, and what an interrupted creation has left."""

from __future__ import annotations

import contextlib
import errno
import time
from collections.abc import Iterator
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._access.workbench import Workbench
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import (
    HostError,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.contract import DesiredImage
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.rbd.changes import (
    MoveToTrash,
    RemoveAbandoned,
    RemoveImage,
    RemoveUnfinished,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.rbd.options import at
from ansible_collections.directdisk.qemu.plugins.module_utils._images.rbd.cluster import (
    cluster_of,
    speaking_of,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._images.rbd.image import opened, part_of, watchers_of

FORGOTTEN_AFTER = 45
"""Seconds after which Ceph drops the watch of a client that was killed: 30 by default, and time to notice."""

CREATED_WITHIN = 5
"""Seconds that Ceph needs at most to create an image without data; mostly some milliseconds."""


def remove_unfinished(desired: DesiredImage, change: RemoveUnfinished, bench: Workbench) -> None:
    """Remove this host's unfinished image; Ceph drops the watch of a killed run only after a while."""
    remove_image(part_of(desired.disk), bench, "another run is still creating it; wait for that run, or stop it")


def remove_abandoned(desired: DesiredImage, change: RemoveAbandoned, bench: Workbench) -> None:
    """Remove the unfinished image of another host, unless that host opens it: then it has just begun to create it."""
    import rbd

    disk, deadline = at(desired.disk, image=change.name), time.monotonic() + CREATED_WITHIN
    while time.monotonic() < deadline:
        if watchers_of(disk, bench):
            return
        time.sleep(0.5)
    with speaking_of(disk, "error removing"), contextlib.suppress(rbd.ImageBusy, rbd.ImageNotFound):
        rbd.RBD().remove(cluster_of(disk, bench).pool(disk), disk.source["image"])


def remove_image(disk: Disk, bench: Workbench, busy: str) -> None:
    """Remove an image, and wait for clients that were killed; busy: the error if a client keeps it open."""
    import rbd

    pool, deadline = cluster_of(disk, bench).pool(disk), time.monotonic() + FORGOTTEN_AFTER
    with speaking_of(disk, "error removing"):
        while True:
            try:
                rbd.RBD().remove(pool, disk.source["image"])
                return
            except rbd.ImageNotFound:
                return  # another host has removed it
            except rbd.Error as error:
                if not isinstance(error, rbd.ImageBusy) and not _is_stale(error):
                    raise
                if time.monotonic() > deadline:
                    raise HostError(busy) from None
                time.sleep(1)


def _is_stale(error: Exception) -> bool:
    """Tell if another host is removing the same image at this moment."""
    return getattr(error, "errno", None) in (errno.ESTALE, -errno.ESTALE)


@contextlib.contextmanager
def changed(disk: Disk, bench: Workbench, doing: str) -> Iterator[Any]:
    """Open an image for a change."""
    import rbd

    pool = cluster_of(disk, bench).pool(disk)
    with speaking_of(disk, doing), rbd.Image(pool, disk.source["image"]) as image:
        yield image


def remove(desired: DesiredImage, change: RemoveImage, bench: Workbench) -> None:
    disk = desired.disk
    _evict(desired, bench)
    if desired.provision["with_snapshots"]:
        with changed(disk, bench, "error removing its snapshots") as image:
            for snapshot in [one for one in image.list_snaps() if one["namespace"] == 0]:
                if image.is_protected_snap(snapshot["name"]):
                    image.unprotect_snap(snapshot["name"])
                image.remove_snap(snapshot["name"])
    remove_image(disk, bench, "a client has it open; stop that client, or set force: true")


def _evict(desired: DesiredImage, bench: Workbench) -> None:
    """Blocklist the watchers, with force only: a client may have opened the image since the plan."""
    disk = desired.disk
    if not desired.provision["force"]:
        return
    handle = cluster_of(disk, bench).handle
    with opened(disk, bench) as image:
        for watcher in list(image.watchers_list()) if image is not None else []:
            handle.blocklist_add(watcher["addr"])


def move_to_trash(desired: DesiredImage, change: MoveToTrash, bench: Workbench) -> None:
    import rbd

    disk = desired.disk
    _evict(desired, bench)
    with speaking_of(disk, "error moving to the trash"):
        rbd.RBD().trash_move(cluster_of(disk, bench).pool(disk), disk.source["image"], change.seconds)
