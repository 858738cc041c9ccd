# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Changes rbd images: by Ceph's own bindings, and by QEMU where a guest sees other bytes than the image has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Callable

from ansible_collections.directdisk.qemu.plugins.module_utils._access.workbench import Workbench
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.contract import Values
from ansible_collections.directdisk.qemu.plugins.module_utils._clients.qmp import Monitor
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._images.contract import DesiredImage
from ansible_collections.directdisk.qemu.plugins.module_utils._images.rbd.cluster import (
    cluster_of,
    speaking_of,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._images.rbd.create import make, rename_image, set_size
from ansible_collections.directdisk.qemu.plugins.module_utils._images.rbd.observe import (
    CONFIG,
    FEATURES,
    part_of,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._images.rbd.options import at
from ansible_collections.directdisk.qemu.plugins.module_utils._images.rbd.remove import (
    changed,
    discard,
    discard_abandoned,
    remove,
    trash,
)


def finish(desired: DesiredImage, values: Values, bench: Workbench) -> None:
    """End a renaming that was cut short: both names lead to the image, and its directory has one of them."""
    import rbd

    disk, part = desired.disk, part_of(desired.disk)
    pool, old, new = cluster_of(disk, bench).pool(disk), part.source["image"], disk.source["image"]
    with speaking_of(disk, "error renaming"):
        if old in rbd.RBD().list(pool):
            pool.remove_object(f"rbd_id.{new}")
            rbd.RBD().rename(pool, old, new)
        else:
            pool.remove_object(f"rbd_id.{old}")


def restore(desired: DesiredImage, values: Values, bench: Workbench) -> None:
    import rbd

    disk = desired.disk
    with speaking_of(disk, "error restoring"):
        rbd.RBD().trash_restore(cluster_of(disk, bench).pool(disk), values["id"], disk.source["image"])


def rename(desired: DesiredImage, values: Values, bench: Workbench) -> None:
    rename_image(at(desired.disk, image=values["name"]), desired.disk, bench)


def features(desired: DesiredImage, values: Values, bench: Workbench) -> None:
    with changed(desired.disk, bench, "error changing features") as image:
        image.update_features(sum(FEATURES[name] for name in values["names"]), values["on"])
        if values["on"] and "object-map" in values["names"]:
            image.rebuild_object_map()


def resize(desired: DesiredImage, values: Values, bench: Workbench) -> None:
    if desired.monitor:
        with speaking_of(desired.disk), Monitor.connect(desired.monitor, seconds=bench.open_timeout) as monitor:
            monitor.execute("block_resize", {"node-name": desired.node, "size": values["size"]})
    else:
        set_size(desired.disk, values["size"], values["was"], bench)


def roll_back(desired: DesiredImage, values: Values, bench: Workbench) -> None:
    """Unlike other changes this is none that a client who holds the lock makes for us: it must give the lock up."""
    import rbd

    with changed(desired.disk, bench, "error rolling back") as image:
        if image.features() & FEATURES["exclusive-lock"]:
            image.lock_acquire(rbd.RBD_LOCK_MODE_EXCLUSIVE)
        image.rollback_to_snap(values["name"])


def flatten(desired: DesiredImage, values: Values, bench: Workbench) -> None:
    with changed(desired.disk, bench, "error flattening") as image:
        image.flatten()


def set_metadata(desired: DesiredImage, values: Values, bench: Workbench) -> None:
    _set_text(desired.disk, values["key"], values["text"], bench)


def set_config(desired: DesiredImage, values: Values, bench: Workbench) -> None:
    _set_text(desired.disk, CONFIG + values["key"], values["text"], bench)


def _set_text(disk: Disk, key: str, text: str | None, bench: Workbench) -> None:
    with changed(disk, bench, "error writing metadata") as image:
        if text is None:
            image.metadata_remove(key)
        else:
            image.metadata_set(key, text)


def take_snapshot(desired: DesiredImage, values: Values, bench: Workbench) -> None:
    with changed(desired.disk, bench, "error taking a snapshot") as image:
        image.create_snap(values["name"])


def remove_snapshot(desired: DesiredImage, values: Values, bench: Workbench) -> None:
    with changed(desired.disk, bench, "error removing a snapshot") as image:
        image.remove_snap(values["name"])


def protect(desired: DesiredImage, values: Values, bench: Workbench) -> None:
    with changed(desired.disk, bench, "error protecting a snapshot") as image:
        (image.protect_snap if values["protected"] else image.unprotect_snap)(values["name"])


ACTIONS: Mapping[str, Callable[[DesiredImage, Values, Workbench], None]] = {
    "discard": discard,
    "discard_abandoned": discard_abandoned,
    "finish": finish,
    "make": make,
    "rename": rename,
    "restore": restore,
    "features": features,
    "rollback": roll_back,
    "grow": resize,
    "shrink": resize,
    "flatten": flatten,
    "metadata": set_metadata,
    "config": set_config,
    "snapshot": take_snapshot,
    "unsnapshot": remove_snapshot,
    "protect": protect,
    "trash": trash,
    "remove": remove,
}
