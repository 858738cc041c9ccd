# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Changes rbd images: by Ceph's own bindings, and by QEMU where a guest sees other bytes than the image has."""

from __future__ import annotations

import contextlib
import errno
import time
from collections.abc import Iterator, Mapping
from typing import Any, Callable

from ansible_collections.directdisk.qemu.plugins.module_utils._access.workbench import Workbench
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.contract import Values
from ansible_collections.directdisk.qemu.plugins.module_utils._clients.qmp import Monitor
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.image_format import (
    format_options,
    has_format,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import (
    CapabilityError,
    HostError,
    MadeMeanwhileError,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._images.contract import Wanted
from ansible_collections.directdisk.qemu.plugins.module_utils._images.rbd.cluster import (
    bounded,
    cluster_of,
    speaking_of,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._images.rbd.observe import (
    CONFIG,
    FEATURES,
    beside,
    opened,
    part_of,
    watchers_of,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._images.rbd.options import at

FORGOTTEN_AFTER = 45
"""Seconds after which Ceph no longer counts on a client that was killed: 30 by default, and time to notice."""

CREATED_WITHIN = 5
"""Seconds that Ceph takes for an image without data at most: mostly some milliseconds."""

_CHUNK = 64 * 1024**2


# --- making ----------------------------------------------------------------------------------------------------------


def make(wanted: Wanted, values: Values, bench: Workbench) -> None:
    """Make an image, under a name that nobody uses until it is whole."""
    if _is_whole_at_once(wanted, values):
        _create(wanted.disk, values, bench)
    else:
        _make_in_parts(wanted, values, bench)


def _is_whole_at_once(wanted: Wanted, values: Values) -> bool:
    """Whether Ceph makes the whole image as it writes its header; striping and a journal come after that."""
    disk = wanted.disk
    blank = not (disk.origin or has_format(disk) or "encryption" in disk.source or wanted.provision["thick"])
    return blank and not {"striping", "journaling"} & set(values["features"])


def _make_in_parts(wanted: Wanted, values: Values, bench: Workbench) -> None:
    disk, part = wanted.disk, part_of(wanted.disk)
    origin = disk.origin if values["clone"] else None
    if origin:
        _clone(beside(disk, origin), part, values, bench)
    else:
        _create(part, values, bench)
    try:
        with _held(part, bench):
            if not origin:
                _write_forms(part, values["size"], bench)
            _complete(wanted, part, values, bench)
            _put_in_place(part, disk, bench)
    except MadeMeanwhileError:
        _remove(part, bench, "it is still open")
        raise


@contextlib.contextmanager
def _held(part: Disk, bench: Workbench) -> Iterator[None]:
    """Keep an unfinished image open until it has its name: other hosts see a watcher and leave it alone."""
    import rbd

    with speaking_of(part, "error opening"):
        image = rbd.Image(cluster_of(part, bench).pool(part), part.source["image"])
    try:
        yield
    finally:
        image.close()


def _complete(wanted: Wanted, part: Disk, values: Values, bench: Workbench) -> None:
    disk = wanted.disk
    if values["was"] != values["size"]:
        _set_size(part, values["size"], values["was"], bench)
    if disk.origin and not values["clone"]:
        # What was never written reads as noise through LUKS, and as zeroes through everything else.
        blank = "luks" not in disk.settings or disk.settings["format"] != "raw"
        bench.copy(*(bounded(image, bench.open_timeout) for image in (disk.origin, part)), blank=blank)
    if wanted.provision["thick"]:
        _fill(part, values["size"], bench)


def _put_in_place(part: Disk, disk: Disk, bench: Workbench) -> None:
    """Give the finished image its name. Ceph refuses a name that is taken; half a creation gives it back."""
    import rbd

    pool, names = cluster_of(disk, bench).pool(disk), (part.source["image"], disk.source["image"])
    with speaking_of(disk, "error renaming"):
        try:
            rbd.RBD().rename(pool, *names)
        except rbd.ImageExists:
            _remove_half(disk, bench)
            rbd.RBD().rename(pool, *names)


def _create(image: Disk, values: Values, bench: Workbench) -> None:
    import rbd

    pool, size = cluster_of(image, bench).pool(image), 0 if has_format(image) else values["size"]
    with speaking_of(image, "error creating"):
        _afresh(image, bench, rbd.RBD().create, pool, image.source["image"], size, values)


def _write_forms(part: Disk, size: int, bench: Workbench) -> None:
    """Ceph's encryption and QEMU's format, where they are declared."""
    if "encryption" in part.source:
        _encrypt(part, size, bench)
    if has_format(part):
        _write_format(part, size, bench)


def _layout(values: Values) -> dict[str, Any]:
    """As Ceph's bindings want it: what is the same anyway is left out."""
    striped = "striping" in values["features"]
    return {
        "features": sum(FEATURES[name] for name in values["features"] if name not in ("striping", "data-pool")),
        "order": values["object_size"].bit_length() - 1,
        "stripe_unit": values["stripe_unit"] if striped else None,
        "stripe_count": values["stripe_count"] if striped else None,
        "data_pool": values["data_pool"] or None,
    }


def _clone(origin: Disk, part: Disk, values: Values, bench: Workbench) -> None:
    import rbd

    cluster, source = cluster_of(part, bench), origin.source
    where = (cluster.pool(origin), source["image"], source["snapshot"], cluster.pool(part), part.source["image"])
    with speaking_of(part, "error cloning"):
        _afresh(part, bench, rbd.RBD().clone, *where, values)


def _afresh(image: Disk, bench: Workbench, make_it: Callable[..., None], *arguments: Any) -> None:
    import rbd

    *where, values = arguments
    try:
        make_it(*where, **_layout(values))
    except rbd.ImageExists:
        _remove_half(image, bench)
        make_it(*where, **_layout(values))


def _remove_half(disk: Disk, bench: Workbench) -> None:
    """Remove what has a name and cannot be opened: a creation that was cut short, unless it is still under way."""
    import rbd

    deadline = time.monotonic() + CREATED_WITHIN
    while time.monotonic() < deadline:
        with opened(disk, bench) as image:
            if image is not None:
                raise MadeMeanwhileError(disk.described)
        time.sleep(0.5)
    with contextlib.suppress(rbd.ImageNotFound):
        rbd.RBD().remove(cluster_of(disk, bench).pool(disk), disk.source["image"])


def _encrypt(part: Disk, size: int, bench: Workbench) -> None:
    """Ceph's own encryption takes its room from the image's end, so that it grows by as much."""
    import rbd

    encryption = part.source["encryption"]
    form = {"luks": "RBD_ENCRYPTION_FORMAT_LUKS1", "luks2": "RBD_ENCRYPTION_FORMAT_LUKS2"}[encryption["format"]]
    if not hasattr(rbd, form):
        raise CapabilityError(part.described, "this host's librbd cannot encrypt; that wants Ceph 16")
    with changed(part, bench, "error encrypting") as image:
        image.resize(size + 2**26)
        image.encryption_format(getattr(rbd, form), encryption["passphrase"])
        taken = size + 2**26 - image.size()
    with changed(part, bench, "error encrypting") as image:
        image.resize(size + taken)


def _write_format(part: Disk, size: int, bench: Workbench) -> None:
    with speaking_of(part), bench.storage(part, writable=True) as node:
        node.write_format(format_options(part, {}, size, node.key))


def _fill(part: Disk, size: int, bench: Workbench) -> None:
    import rbd

    if not hasattr(rbd, "RBD_WRITE_ZEROES_FLAG_THICK_PROVISION"):
        raise CapabilityError(part.described, "this host's librbd cannot write an image full; that wants Ceph 16")
    with changed(part, bench, "error writing") as image:
        for offset in range(0, size, _CHUNK):
            length = min(_CHUNK, size - offset)
            image.write_zeroes(offset, length, rbd.RBD_WRITE_ZEROES_FLAG_THICK_PROVISION)


def _rename(old: Disk, new: Disk, bench: Workbench) -> None:
    import rbd

    with speaking_of(new, "error renaming"):
        rbd.RBD().rename(cluster_of(new, bench).pool(new), old.source["image"], new.source["image"])


def discard(wanted: Wanted, values: Values, bench: Workbench) -> None:
    """Remove what an unfinished run left; one that was killed is still counted on for a while."""
    _remove(part_of(wanted.disk), bench, "another run is still making it; let that end, or end it")


def discard_abandoned(wanted: Wanted, values: Values, bench: Workbench) -> None:
    """Remove what a run on another host left, unless that host opens it meanwhile: it has begun to make it then."""
    import rbd

    disk, deadline = at(wanted.disk, image=values["name"]), time.monotonic() + CREATED_WITHIN
    while time.monotonic() < deadline:
        if watchers_of(disk, bench):
            return
        time.sleep(0.5)
    with speaking_of(disk, "error removing"), contextlib.suppress(rbd.ImageBusy, rbd.ImageNotFound):
        rbd.RBD().remove(cluster_of(disk, bench).pool(disk), disk.source["image"])


def finish(wanted: Wanted, values: Values, bench: Workbench) -> None:
    """End a renaming that was cut short: both names lead to the image, and its directory has one of them."""
    import rbd

    disk, part = wanted.disk, part_of(wanted.disk)
    pool, old, new = cluster_of(disk, bench).pool(disk), part.source["image"], disk.source["image"]
    with speaking_of(disk, "error renaming"):
        if old in rbd.RBD().list(pool):
            pool.remove_object(f"rbd_id.{new}")
            rbd.RBD().rename(pool, old, new)
        else:
            pool.remove_object(f"rbd_id.{old}")


def _remove(disk: Disk, bench: Workbench, busy: str) -> None:
    """busy: what is said where a client keeps it open."""
    import rbd

    pool, deadline = cluster_of(disk, bench).pool(disk), time.monotonic() + FORGOTTEN_AFTER
    with speaking_of(disk, "error removing"):
        while True:
            try:
                rbd.RBD().remove(pool, disk.source["image"])
                return
            except rbd.ImageNotFound:
                return  # another host was quicker
            except rbd.Error as error:
                if not isinstance(error, rbd.ImageBusy) and not _is_stale(error):
                    raise
                if time.monotonic() > deadline:
                    raise HostError(busy) from None
                time.sleep(1)


def _is_stale(error: Exception) -> bool:
    """Tell if another host is removing the same image at this moment."""
    return getattr(error, "errno", None) in (errno.ESTALE, -errno.ESTALE)


# --- images that are there -------------------------------------------------------------------------------------------


@contextlib.contextmanager
def changed(disk: Disk, bench: Workbench, doing: str) -> Iterator[Any]:
    """An image, open to be changed."""
    import rbd

    pool = cluster_of(disk, bench).pool(disk)
    with speaking_of(disk, doing), rbd.Image(pool, disk.source["image"]) as image:
        yield image


def remove(wanted: Wanted, values: Values, bench: Workbench) -> None:
    disk = wanted.disk
    _evict(wanted, bench)
    if wanted.provision["with_snapshots"]:
        with changed(disk, bench, "error removing its snapshots") as image:
            for snapshot in [found for found in image.list_snaps() if found["namespace"] == 0]:
                if image.is_protected_snap(snapshot["name"]):
                    image.unprotect_snap(snapshot["name"])
                image.remove_snap(snapshot["name"])
    _remove(disk, bench, "a client has it open; stop that client, or say force: true")


def _evict(wanted: Wanted, bench: Workbench) -> None:
    """Blocklist the clients that have an image open, only with force: one may have opened it since the plan."""
    disk = wanted.disk
    if not wanted.provision["force"]:
        return
    handle = cluster_of(disk, bench).handle
    with opened(disk, bench) as image:
        for watcher in list(image.watchers_list()) if image is not None else []:
            handle.blocklist_add(watcher["addr"])


def trash(wanted: Wanted, values: Values, bench: Workbench) -> None:
    import rbd

    disk = wanted.disk
    _evict(wanted, bench)
    with speaking_of(disk, "error moving to the trash"):
        rbd.RBD().trash_move(cluster_of(disk, bench).pool(disk), disk.source["image"], values["seconds"])


def restore(wanted: Wanted, values: Values, bench: Workbench) -> None:
    import rbd

    disk = wanted.disk
    with speaking_of(disk, "error restoring"):
        rbd.RBD().trash_restore(cluster_of(disk, bench).pool(disk), values["id"], disk.source["image"])


def rename(wanted: Wanted, values: Values, bench: Workbench) -> None:
    _rename(at(wanted.disk, image=values["name"]), wanted.disk, bench)


def features(wanted: Wanted, values: Values, bench: Workbench) -> None:
    with changed(wanted.disk, bench, "error changing features") as image:
        image.update_features(sum(FEATURES[name] for name in values["names"]), values["on"])
        if values["on"] and "object-map" in values["names"]:
            image.rebuild_object_map()


def resize(wanted: Wanted, values: Values, bench: Workbench) -> None:
    if wanted.monitor:
        with speaking_of(wanted.disk), Monitor.connect(wanted.monitor, seconds=bench.open_timeout) as monitor:
            monitor.execute("block_resize", {"node-name": wanted.node, "size": values["size"]})
    else:
        _set_size(wanted.disk, values["size"], values["was"], bench)


def _set_size(disk: Disk, size: int, was: int, bench: Workbench) -> None:
    """size, was: bytes that a guest sees; what Ceph's encryption takes stands beside them."""
    if has_format(disk):
        with speaking_of(disk), bench.image(disk, writable=True) as node:
            node.resize(size)
    else:
        with changed(disk, bench, "error resizing") as image:
            image.resize(size + image.size() - was, allow_shrink=True)


def roll_back(wanted: Wanted, values: Values, bench: Workbench) -> None:
    """Unlike other changes this is none that a client who holds the lock makes for us: it must give the lock up."""
    import rbd

    with changed(wanted.disk, bench, "error rolling back") as image:
        if image.features() & FEATURES["exclusive-lock"]:
            image.lock_acquire(rbd.RBD_LOCK_MODE_EXCLUSIVE)
        image.rollback_to_snap(values["name"])


def flatten(wanted: Wanted, values: Values, bench: Workbench) -> None:
    with changed(wanted.disk, bench, "error flattening") as image:
        image.flatten()


def set_metadata(wanted: Wanted, values: Values, bench: Workbench) -> None:
    _set_text(wanted.disk, values["key"], values["text"], bench)


def set_config(wanted: Wanted, values: Values, bench: Workbench) -> None:
    _set_text(wanted.disk, CONFIG + values["key"], values["text"], bench)


def _set_text(disk: Disk, key: str, text: str | None, bench: Workbench) -> None:
    with changed(disk, bench, "error writing metadata") as image:
        if text is None:
            image.metadata_remove(key)
        else:
            image.metadata_set(key, text)


def take_snapshot(wanted: Wanted, values: Values, bench: Workbench) -> None:
    with changed(wanted.disk, bench, "error taking a snapshot") as image:
        image.create_snap(values["name"])


def remove_snapshot(wanted: Wanted, values: Values, bench: Workbench) -> None:
    with changed(wanted.disk, bench, "error removing a snapshot") as image:
        image.remove_snap(values["name"])


def protect(wanted: Wanted, values: Values, bench: Workbench) -> None:
    with changed(wanted.disk, bench, "error protecting a snapshot") as image:
        (image.protect_snap if values["protected"] else image.unprotect_snap)(values["name"])


VERBS: Mapping[str, Callable[[Wanted, Values, Workbench], None]] = {
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
