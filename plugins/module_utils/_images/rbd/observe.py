# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looks at rbd images: by Ceph's own bindings, and by QEMU where a guest sees other bytes than the image has."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._access.file_kind import not_raw
from ansible_collections.directdisk.qemu.plugins.module_utils._access.workbench import Workbench
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError, HostError
from ansible_collections.directdisk.qemu.plugins.module_utils._host.host_mark import host_mark
from ansible_collections.directdisk.qemu.plugins.module_utils._images.contract import DesiredImage, ObservedImage
from ansible_collections.directdisk.qemu.plugins.module_utils._images.rbd.cluster import (
    Cluster,
    cluster_of,
    speaking_of,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._images.rbd.options import (
    OF_THE_IMAGE,
    PART,
    at,
    is_part_of,
    is_translated,
    texts_of,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._options.read import did_you_mean

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
"""Ceph's bits; the others say what has happened to an image, not how it was made."""

CONFIG = "conf_"
"""Begins the key of metadata that is configuration."""

_USER_SNAPSHOT = 0
_CHUNK = 4 * 1024**2
_HEAD = 4096
"""Bytes that tell the format of an image."""


def observe(desired: DesiredImage, bench: Workbench) -> ObservedImage:
    """What is there; where there is nothing, also what a plan has to know of the pool, the source and former images."""
    disk = desired.disk
    cluster = cluster_of(disk, bench)
    _refuse_config(desired, cluster)
    observed = _look(desired, bench)
    if observed is None:
        _refuse_namespace(disk, cluster)
        observed = {"exists": False}
        if desired.state == "present" and "snapshot" not in disk.source:
            observed.update(_see_for_new(desired, bench))
    if _has_name(part_of(disk), cluster):
        with opened(part_of(disk), bench) as part:
            if part is not None:
                observed["incomplete"] = {"watchers": _watchers(part)}
                observed["_half_renamed"] = part.id() == observed.get("_id")
    if not observed["exists"] or desired.state == "absent":
        # Only then, because it takes a list of the whole pool.
        observed["_abandoned"] = _abandoned(disk, bench)
    return observed


def _abandoned(disk: Disk, bench: Workbench) -> list[str]:
    """Names of unfinished images of other hosts that no client has open: a host at work has its own open."""
    own = part_of(disk).source["image"]
    others = [name for name in _names(disk, bench) if name != own and is_part_of(name, disk.source["image"])]
    return [name for name in others if not watchers_of(at(disk, image=name), bench)]


def _names(disk: Disk, bench: Workbench) -> list[str]:
    """The images of a pool; one list a run, however many disks. Empty where this user may not list them."""
    import rbd

    @contextlib.contextmanager
    def listed() -> Iterator[list[str]]:
        names: list[str] = []
        with speaking_of(disk, "error listing images"), contextlib.suppress(rbd.PermissionError):
            names = list(rbd.RBD().list(cluster.pool(disk)))
        yield names

    cluster = cluster_of(disk, bench)
    key = ("rbd names", cluster.fsid, disk.source["pool"], disk.source.get("namespace", ""))
    return bench.shared(key, listed)


def watchers_of(disk: Disk, bench: Workbench) -> list[str]:
    """The clients that have an image open; none where there is no image."""
    with opened(disk, bench) as image:
        return [] if image is None else _watchers(image)


def _has_name(disk: Disk, cluster: Cluster) -> bool:
    """Whether Ceph has an object for the name of an image: that is asked in a tenth of the time of opening it."""
    import rados

    with speaking_of(disk, "error reading header"):
        try:
            cluster.pool(disk).stat(f"rbd_id.{disk.source['image']}")
        except rados.ObjectNotFound:
            return False
    return True


def part_of(disk: Disk) -> Disk:
    """The image that becomes a disk's once it is whole; each host makes one of its own."""
    return at(disk, image=f"{disk.source['image']}{PART}{host_mark()}")


@contextlib.contextmanager
def opened(disk: Disk, bench: Workbench, *, identifier: str = "") -> Iterator[Any]:
    """An image that is only looked at, so that no watch of ours is on it; None where there is none."""
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


def _look(desired: DesiredImage, bench: Workbench, *, identifier: str = "") -> dict[str, Any] | None:
    """identifier: of an image in the trash, which QEMU cannot open."""
    disk, rollback = desired.disk, desired.provision.get("rollback", "")
    with opened(disk, bench, identifier=identifier) as image:
        if image is None:
            return None
        found = _describe(image, disk, cluster_of(disk, bench))
        if rollback in (snapshot["name"] for snapshot in found["snapshots"]):
            found["_rollback"] = _compare(image, rollback)
    if is_translated(disk):
        found["stored_size"] = found.pop("size")
        if desired.state != "absent" and not identifier:
            found["size"] = virtual_size(disk, bench)
            if "_rollback" in found:
                found["_rollback"]["size"] = virtual_size(at(disk, snapshot=rollback), bench)
    return found


def _describe(image: Any, disk: Disk, cluster: Cluster) -> dict[str, Any]:
    bits, stat = image.features(), image.stat()
    metadata, config = _texts(image)
    snapshots = list(image.list_snaps())
    children = _children(image) if snapshots else []
    return {
        "exists": True,
        "size": stat["size"],
        "format": disk.settings["format"],
        "features": sorted(name for name, bit in FEATURES.items() if bits & bit),
        "object_size": stat["obj_size"],
        "stripe_unit": image.stripe_unit(),
        "stripe_count": image.stripe_count(),
        "data_pool": cluster.pool_name(image.data_pool_id()) if bits & FEATURES["data-pool"] else "",
        "parent": _parent(image),
        "children": children,
        "snapshots": [
            _snapshot(image, snapshot["name"], children)
            for snapshot in sorted(snapshots, key=lambda snapshot: str(snapshot["name"]))
            if snapshot["namespace"] == _USER_SNAPSHOT
        ],
        "metadata": metadata,
        "image_config": config,
        "watchers": _watchers(image),
        "lock": _lock_owner(image),
        "_id": image.id(),
        "_not_raw": _not_raw(image, disk),
    }


def _not_raw(image: Any, disk: Disk) -> str:
    """Why an image is not the raw disk that is declared; a guest of this or of another declaration has written it."""
    if is_translated(disk):
        return ""
    return not_raw(disk.settings, image.read(0, min(_HEAD, image.size())), written_by_guests=True)


def _texts(image: Any) -> tuple[dict[str, str], dict[str, str]]:
    """Metadata, and that of it which is configuration. A key with a dot before it is Ceph's own."""
    texts = {key: text for key, text in image.metadata_list() if not key.startswith(".")}
    config = {key[len(CONFIG) :]: text for key, text in texts.items() if key.startswith(CONFIG)}
    return {key: text for key, text in texts.items() if not key.startswith(CONFIG)}, config


def _snapshot(image: Any, name: str, children: list[str]) -> dict[str, Any]:
    own: list[str] = []
    if children:
        image.set_snap(name)
        own = _children(image)
        image.set_snap(None)
    return {"name": name, "protected": image.is_protected_snap(name), "children": own}


def _children(image: Any) -> list[str]:
    return sorted(_place(child["pool"], child["pool_namespace"], child["image"]) for child in image.list_children2())


def _parent(image: Any) -> str:
    import rbd

    try:
        spec = image.get_parent_image_spec()
    except rbd.ImageNotFound:
        return ""
    return f"{_place(spec['pool_name'], spec['pool_namespace'], spec['image_name'])}@{spec['snap_name']}"


def _place(*parts: str) -> str:
    return "/".join(filter(None, parts))


def _watchers(image: Any) -> list[str]:
    return sorted(str(watcher["addr"]) for watcher in image.watchers_list())


def _lock_owner(image: Any) -> str:
    found = image.list_lockers()
    return str(found["lockers"][0][2]) if found else ""


def _compare(image: Any, snapshot: str) -> dict[str, Any]:
    """Whether an image has what it had at a snapshot: Ceph says where it was written, and that is read."""
    extents: list[tuple[int, int]] = []
    now = image.size()
    image.set_snap(snapshot)
    then = image.size()
    image.set_snap(None)
    image.diff_iterate(0, now, snapshot, lambda start, length, _exists: extents.append((start, length)), True, False)
    return {"equal": now == then and all(_same(image, snapshot, *extent) for extent in extents), "size": then}


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
    """Bytes that a guest would see, as QEMU says."""
    with speaking_of(disk):
        return bench.size_of(disk)


# --- what is not there yet -------------------------------------------------------------------------------------------


def _see_for_new(desired: DesiredImage, bench: Workbench) -> dict[str, Any]:
    former = _former(desired, bench)
    if former:
        return {"_former": former}
    cluster = cluster_of(desired.disk, bench)
    defaults = _defaults(cluster.defaults(desired.disk))
    pool = desired.provision.get("data_pool", defaults["data_pool"])
    if pool and not cluster.handle.pool_exists(pool):
        raise DeclarationError("data_pool", f"the cluster has no pool {pool}; list them with ceph osd pool ls")
    source = _see_source(desired.disk, desired.disk.origin, bench) if desired.disk.origin else {}
    return {"_new": {"defaults": defaults, "source": source}}


def _former(desired: DesiredImage, bench: Workbench) -> dict[str, Any] | None:
    """The image that is to be renamed, or taken out of the trash."""
    disk, name = desired.disk, desired.provision.get("renamed_from")
    if name:
        found = _look(replace(desired, disk=at(disk, image=name)), bench)
        if found:
            return {**found, "_found": ("renamed", name)}
    thrown = _in_trash(disk, bench) if desired.provision["restore"] else []
    if len(thrown) > 1:
        raise DeclarationError(
            disk.described, f"is in the trash {len(thrown)} times (ids {', '.join(thrown)}); restore one by rbd trash"
        )
    found = _look(desired, bench, identifier=thrown[0]) if thrown else None
    return {**found, "_found": ("restored", thrown[0])} if found else None


def _in_trash(disk: Disk, bench: Workbench) -> list[str]:
    import rbd

    with speaking_of(disk, "error reading the trash"):
        entries = rbd.RBD().trash_list(cluster_of(disk, bench).pool(disk))
        return sorted(entry["id"] for entry in entries if entry["name"] == disk.source["image"])


def _defaults(config: dict[str, str]) -> dict[str, Any]:
    bits = int(config["rbd_default_features"])
    return {
        "features": [name for name, bit in FEATURES.items() if bits & bit],
        "object_size": 2 ** int(config["rbd_default_order"]),
        "stripe_unit": int(config["rbd_default_stripe_unit"]),
        "stripe_count": int(config["rbd_default_stripe_count"]),
        "data_pool": config["rbd_default_data_pool"],
    }


def _see_source(disk: Disk, origin: Disk, bench: Workbench) -> dict[str, Any]:
    """A snapshot of the same cluster whose bytes are in the same form can be cloned; all else is copied."""
    if not _cloneable(disk, origin, bench):
        with speaking_of(origin):
            return {"size": bench.size_of_source(origin)}
    with opened(beside(disk, origin), bench) as image:
        if image is None:
            raise HostError("there is no such image or snapshot; correct source")
        problem = _not_raw(image, origin)
        if problem:
            raise HostError(problem)
        stat, (metadata, config) = image.stat(), _texts(image)
        found = {
            "clone": True,
            "size": stat["size"],
            "protected": image.is_protected_snap(origin.source["snapshot"]),
            "parent": origin.backend.describe(origin.source),
            "layout": {"object_size": stat["obj_size"]},
            "metadata": metadata,
            "image_config": config,
            "clone_format": _clone_format(disk, cluster_of(disk, bench)),
        }
    return {**found, "size": virtual_size(origin, bench)} if is_translated(origin) else found


def beside(disk: Disk, origin: Disk) -> Disk:
    """A source in the cluster of a disk, opened as that disk's user."""
    cluster = {name: value for name, value in disk.source.items() if name not in OF_THE_IMAGE}
    place = {name: value for name, value in origin.source.items() if name in OF_THE_IMAGE}
    return replace(origin, source={**cluster, **place})


def _cloneable(disk: Disk, origin: Disk, bench: Workbench) -> bool:
    same_form = (
        origin.backend is disk.backend
        and "snapshot" in origin.source
        and origin.settings["format"] == disk.settings["format"]
        and origin.settings.get("luks") == disk.settings.get("luks")
        and origin.source.get("encryption") == disk.source.get("encryption")
    )
    return same_form and cluster_of(origin, bench).fsid == cluster_of(disk, bench).fsid


def _clone_format(disk: Disk, cluster: Cluster) -> int:
    """2 where a parent needs no protection: as configured, or where all clients are new enough for it."""
    configured = cluster.defaults(disk)["rbd_default_clone_format"]
    if configured in ("1", "2"):
        return int(configured)
    with speaking_of(disk, "error reading what clients the cluster expects"):
        oldest = cluster.ask("osd get-require-min-compat-client")
    return 2 if "mimic" <= oldest != "unknown" else 1


# --- what the cluster would refuse -----------------------------------------------------------------------------------


def _refuse_config(desired: DesiredImage, cluster: Cluster) -> None:
    """Refuse options that Ceph's client does not know, and values that it cannot read."""
    config = texts_of(desired.provision.get("image_config", {}))
    for name, text in config.items():
        known = cluster.defaults(desired.disk)
        if name not in known:
            problem = f"is no option that an image can have{did_you_mean(name, known)}"
            raise DeclarationError(f"image_config: {name}", problem)
        if text is not None and not cluster.understands(name, text):
            raise DeclarationError(f"image_config: {name}", f"Ceph cannot read the value {text!r}")


def _refuse_namespace(disk: Disk, cluster: Cluster) -> None:
    """An image in a namespace that is not there looks like any other that is not there."""
    import rbd

    name = disk.source.get("namespace")
    with speaking_of(disk), contextlib.suppress(rbd.PermissionError):
        if name and not rbd.RBD().namespace_exists(cluster.pool(disk), name):
            raise HostError(f"namespace '{name}' does not exist")
