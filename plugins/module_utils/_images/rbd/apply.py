# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Changes rbd images: with Ceph's own bindings, and with QEMU if a guest sees other bytes than the image has."""

from __future__ import annotations

from ansible_collections.directdisk.qemu.plugins.module_utils._access.workbench import Workbench
from ansible_collections.directdisk.qemu.plugins.module_utils._clients.qmp import Monitor
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.contract import DesiredImage
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.rbd import changes
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.rbd.options import at
from ansible_collections.directdisk.qemu.plugins.module_utils._images.lifecycle import Actions
from ansible_collections.directdisk.qemu.plugins.module_utils._images.rbd.cluster import (
    cluster_of,
    speaking_of,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._images.rbd.create import create, rename_image, set_size
from ansible_collections.directdisk.qemu.plugins.module_utils._images.rbd.image import CONFIG, FEATURES, part_of
from ansible_collections.directdisk.qemu.plugins.module_utils._images.rbd.remove import (
    changed,
    move_to_trash,
    remove,
    remove_abandoned,
    remove_unfinished,
)


def finish_rename(desired: DesiredImage, change: changes.FinishRename, bench: Workbench) -> None:
    """Finish an interrupted rename: both names lead to the image, and the directory has one of them."""
    import rbd

    disk, part = desired.disk, part_of(desired.disk)
    pool, old, new = cluster_of(disk, bench).pool(disk), part.source["image"], disk.source["image"]
    with speaking_of(disk, "error renaming"):
        if old in rbd.RBD().list(pool):
            pool.remove_object(f"rbd_id.{new}")
            rbd.RBD().rename(pool, old, new)
        else:
            pool.remove_object(f"rbd_id.{old}")


def restore(desired: DesiredImage, change: changes.RestoreImage, bench: Workbench) -> None:
    import rbd

    disk = desired.disk
    with speaking_of(disk, "error restoring"):
        rbd.RBD().trash_restore(cluster_of(disk, bench).pool(disk), change.trash_id, disk.source["image"])


def rename(desired: DesiredImage, change: changes.RenameImage, bench: Workbench) -> None:
    rename_image(at(desired.disk, image=change.former_name), desired.disk, bench)


def set_features(desired: DesiredImage, change: changes.SetFeatures, bench: Workbench) -> None:
    with changed(desired.disk, bench, "error changing features") as image:
        image.update_features(sum(FEATURES[name] for name in change.names), change.enabled)
        if change.enabled and "object-map" in change.names:
            image.rebuild_object_map()


def resize(desired: DesiredImage, change: changes.ResizeImage, bench: Workbench) -> None:
    if desired.monitor:
        with speaking_of(desired.disk), Monitor.connect(desired.monitor, seconds=bench.open_timeout) as monitor:
            monitor.execute("block_resize", {"node-name": desired.node, "size": change.size})
    else:
        set_size(desired.disk, change.size, change.former_size, bench)


def roll_back(desired: DesiredImage, change: changes.RollBack, bench: Workbench) -> None:
    """Roll back with the exclusive lock: unlike other changes, the client that holds it does not do this for us."""
    import rbd

    with changed(desired.disk, bench, "error rolling back") as image:
        if image.features() & FEATURES["exclusive-lock"]:
            image.lock_acquire(rbd.RBD_LOCK_MODE_EXCLUSIVE)
        image.rollback_to_snap(change.snapshot)


def flatten(desired: DesiredImage, change: changes.Flatten, bench: Workbench) -> None:
    with changed(desired.disk, bench, "error flattening") as image:
        image.flatten()


def set_metadata(desired: DesiredImage, change: changes.SetMetadata, bench: Workbench) -> None:
    _set_text(desired.disk, change.key, change.text, bench)


def set_configuration(desired: DesiredImage, change: changes.SetConfiguration, bench: Workbench) -> None:
    _set_text(desired.disk, CONFIG + change.key, change.text, bench)


def _set_text(disk: Disk, key: str, text: str | None, bench: Workbench) -> None:
    with changed(disk, bench, "error writing metadata") as image:
        if text is None:
            image.metadata_remove(key)
        else:
            image.metadata_set(key, text)


def take_snapshot(desired: DesiredImage, change: changes.TakeSnapshot, bench: Workbench) -> None:
    with changed(desired.disk, bench, "error taking a snapshot") as image:
        image.create_snap(change.name)


def remove_snapshot(desired: DesiredImage, change: changes.RemoveSnapshot, bench: Workbench) -> None:
    with changed(desired.disk, bench, "error removing a snapshot") as image:
        image.remove_snap(change.name)


def protect(desired: DesiredImage, change: changes.ProtectSnapshot, bench: Workbench) -> None:
    with changed(desired.disk, bench, "error protecting a snapshot") as image:
        (image.protect_snap if change.protected else image.unprotect_snap)(change.name)


ACTIONS: Actions = {
    changes.RemoveUnfinished: remove_unfinished,
    changes.RemoveAbandoned: remove_abandoned,
    changes.FinishRename: finish_rename,
    changes.CreateImage: create,
    changes.RenameImage: rename,
    changes.RestoreImage: restore,
    changes.SetFeatures: set_features,
    changes.RollBack: roll_back,
    changes.ResizeImage: resize,
    changes.Flatten: flatten,
    changes.SetMetadata: set_metadata,
    changes.SetConfiguration: set_configuration,
    changes.TakeSnapshot: take_snapshot,
    changes.RemoveSnapshot: remove_snapshot,
    changes.ProtectSnapshot: protect,
    changes.MoveToTrash: move_to_trash,
    changes.RemoveImage: remove,
}
