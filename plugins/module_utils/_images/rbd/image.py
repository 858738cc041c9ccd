# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads one rbd image with Ceph's own bindings, and its size for a guest with QEMU."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._access.file_kind import not_raw
from ansible_collections.directdisk.qemu.plugins.module_utils._access.workbench import Workbench
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._host.host_mark import host_mark
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.contract import DesiredImage
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.rbd.observed import (
    Layout,
    ObservedRbd,
    RbdImage,
    RollbackTarget,
    Snapshot,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.rbd.options import (
    PART,
    at,
    is_translated,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._images.rbd.cluster import (
    Cluster,
    cluster_of,
    speaking_of,
)

FEATURES = {
    "layering": 1,
    "striping": 2,
    "exclusive-lock": 4,
    "object-map": 8,
    "fast-diff": 16,
    "deep-flatten": 32,
    "journaling": 64,
    "data-pool": 128,
}
"""Bits of Ceph's features; other bits tell what has happened to an image."""

CONFIG = "conf_"
"""Prefix of metadata keys that are configuration."""

_USER_SNAPSHOT = 0
_CHUNK = 4 * 1024**2
_HEAD = 4096
"""Bytes that tell the format of an image."""


def watchers_of(disk: Disk, bench: Workbench) -> tuple[str, ...]:
    """Return the clients that have an image open; none if there is no image."""
    with opened(disk, bench) as image:
        return () if image is None else watchers_in(image)


def part_of(disk: Disk) -> Disk:
    """Return the unfinished image of a disk, which is renamed when it is whole; each host has its own."""
    return at(disk, image=f"{disk.source['image']}{PART}{host_mark()}")


@contextlib.contextmanager
def opened(disk: Disk, bench: Workbench, *, identifier: str = "") -> Iterator[Any]:
    """Open an image read-only, without a watch; yields None if there is none."""
    import rbd

    name, image = disk.source["image"], None
    pool = cluster_of(disk, bench).pool(disk)
    which = {"image_id": identifier} if identifier else {"name": name, "snapshot": disk.source.get("snapshot")}
    with speaking_of(disk, f"error reading header from {name}"):
        with contextlib.suppress(rbd.ImageNotFound):
            image = rbd.Image(pool, read_only=True, **which)
        try:
            yield image
        finally:
            if image is not None:
                image.close()


def observe_image(desired: DesiredImage, bench: Workbench, *, identifier: str = "") -> ObservedRbd | None:
    """Observe an image that exists; identifier: of an image in the trash, which QEMU cannot open."""
    disk, rollback = desired.disk, desired.provision.get("rollback", "")
    target = None
    with opened(disk, bench, identifier=identifier) as image:
        if image is None:
            return None
        observed = _describe(image, disk, cluster_of(disk, bench))
        if observed.image and rollback in (snapshot.name for snapshot in observed.image.snapshots):
            target = _compare(image, rollback)
    if is_translated(disk):
        observed = replace(observed, size=None, stored_size=observed.size)
        if desired.state != "absent" and not identifier:
            observed = replace(observed, size=virtual_size(disk, bench))
            if target:
                target = replace(target, size=virtual_size(at(disk, snapshot=rollback), bench))
    return replace(observed, rollback=target)


def _describe(image: Any, disk: Disk, cluster: Cluster) -> ObservedRbd:
    bits, stat = image.features(), image.stat()
    metadata, image_config = metadata_of(image)
    snapshots = list(image.list_snaps())
    children = _children(image) if snapshots else ()
    layout = Layout(
        features=tuple(sorted(name for name, bit in FEATURES.items() if bits & bit)),
        object_size=stat["obj_size"],
        stripe_unit=image.stripe_unit(),
        stripe_count=image.stripe_count(),
        data_pool=cluster.pool_name(image.data_pool_id()) if bits & FEATURES["data-pool"] else "",
    )
    described = RbdImage(
        layout,
        parent=_parent(image),
        children=children,
        snapshots=tuple(
            _snapshot(image, snapshot["name"], children)
            for snapshot in sorted(snapshots, key=lambda snapshot: str(snapshot["name"]))
            if snapshot["namespace"] == _USER_SNAPSHOT
        ),
        metadata=metadata,
        image_config=image_config,
        watchers=watchers_in(image),
        lock=_lock_owner(image),
    )
    return ObservedRbd(
        exists=True,
        size=stat["size"],
        format=disk.settings["format"],
        image=described,
        identifier=image.id(),
        not_raw=raw_problem(image, disk),
    )


def raw_problem(image: Any, disk: Disk) -> str:
    """Return why an image is not the declared raw disk; empty if it may be."""
    if is_translated(disk):
        return ""
    return not_raw(disk.settings, image.read(0, min(_HEAD, image.size())), written_by_guests=True)


def metadata_of(image: Any) -> tuple[dict[str, str], dict[str, str]]:
    """Return the metadata, and the configuration that is part of it. A key that begins with a dot is Ceph's own."""
    texts = {key: text for key, text in image.metadata_list() if not key.startswith(".")}
    config = {key[len(CONFIG) :]: text for key, text in texts.items() if key.startswith(CONFIG)}
    return {key: text for key, text in texts.items() if not key.startswith(CONFIG)}, config


def _snapshot(image: Any, name: str, children: tuple[str, ...]) -> Snapshot:
    clones: tuple[str, ...] = ()
    if children:
        image.set_snap(name)
        clones = _children(image)
        image.set_snap(None)
    return Snapshot(name, bool(image.is_protected_snap(name)), clones)


def _children(image: Any) -> tuple[str, ...]:
    children = image.list_children2()
    return tuple(sorted(_place(child["pool"], child["pool_namespace"], child["image"]) for child in children))


def _parent(image: Any) -> str:
    import rbd

    try:
        spec = image.get_parent_image_spec()
    except rbd.ImageNotFound:
        return ""
    return f"{_place(spec['pool_name'], spec['pool_namespace'], spec['image_name'])}@{spec['snap_name']}"


def _place(*parts: str) -> str:
    return "/".join(filter(None, parts))


def watchers_in(image: Any) -> tuple[str, ...]:
    return tuple(sorted(str(watcher["addr"]) for watcher in image.watchers_list()))


def _lock_owner(image: Any) -> str:
    owners = image.list_lockers()
    return str(owners["lockers"][0][2]) if owners else ""


def _compare(image: Any, snapshot: str) -> RollbackTarget:
    """Compare an image with its snapshot: read only the extents that Ceph reports as written since."""
    extents: list[tuple[int, int]] = []
    now = image.size()
    image.set_snap(snapshot)
    then = image.size()
    image.set_snap(None)
    image.diff_iterate(0, now, snapshot, lambda start, length, _exists: extents.append((start, length)), True, False)
    equal = now == then and all(_same(image, snapshot, *extent) for extent in extents)
    return RollbackTarget(equal, then)


def _same(image: Any, snapshot: str, start: int, length: int) -> bool:
    for offset in range(start, start + length, _CHUNK):
        size = min(_CHUNK, start + length - offset)
        now = image.read(offset, size)
        image.set_snap(snapshot)
        then = image.read(offset, size)
        image.set_snap(None)
        if now != then:
            return False
    return True


def virtual_size(disk: Disk, bench: Workbench) -> int:
    """Ask QEMU for the bytes that a guest sees."""
    with speaking_of(disk):
        return bench.size_of(disk)
