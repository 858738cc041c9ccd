# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Observes rbd images with Ceph's own bindings, and with QEMU if a guest sees other bytes than the image has."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace

from ansible_collections.directdisk.qemu.plugins.module_utils._access.workbench import Workbench
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError, HostError
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.contract import DesiredImage
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.rbd.observed import (
    CloneSource,
    FormerImage,
    Incomplete,
    Layout,
    NewImage,
    ObservedRbd,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.rbd.options import (
    OF_THE_IMAGE,
    at,
    is_part_of,
    is_translated,
    texts_of,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._images.rbd.cluster import (
    Cluster,
    cluster_of,
    speaking_of,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._images.rbd.image import (
    FEATURES,
    metadata_of,
    observe_image,
    opened,
    part_of,
    raw_problem,
    virtual_size,
    watchers_in,
    watchers_of,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._images.sources import size_of_source
from ansible_collections.directdisk.qemu.plugins.module_utils._options.read import did_you_mean


def observe(desired: DesiredImage, bench: Workbench) -> ObservedRbd:
    """Observe an image; if there is none, also the pool, the source and former images that a plan depends on."""
    disk = desired.disk
    cluster = cluster_of(disk, bench)
    _refuse_config(desired, cluster)
    observed = observe_image(desired, bench)
    if observed is None:
        _refuse_namespace(disk, cluster)
        observed = ObservedRbd(exists=False)
        if desired.state == "present" and "snapshot" not in disk.source:
            observed = _observe_for_new(desired, bench)
    if _has_name(part_of(disk), cluster):
        with opened(part_of(disk), bench) as part:
            if part is not None:
                half_renamed = part.id() == observed.identifier
                observed = replace(observed, incomplete=Incomplete(watchers_in(part)), half_renamed=half_renamed)
    if not observed.exists or desired.state == "absent":
        # Only then, because it lists the whole pool.
        observed = replace(observed, abandoned=tuple(_abandoned(disk, bench)))
    return observed


def _abandoned(disk: Disk, bench: Workbench) -> list[str]:
    """Return unfinished images of other hosts that no client has open: a host that creates one has it open."""
    own = part_of(disk).source["image"]
    others = [name for name in _names(disk, bench) if name != own and is_part_of(name, disk.source["image"])]
    return [name for name in others if not watchers_of(at(disk, image=name), bench)]


def _names(disk: Disk, bench: Workbench) -> list[str]:
    """List the images of a pool, once a run for all disks; empty if this user may not list them."""
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


def _has_name(disk: Disk, cluster: Cluster) -> bool:
    """Tell if Ceph has an object for the name of an image: this takes a tenth of the time of opening it."""
    import rados

    with speaking_of(disk, "error reading header"):
        try:
            cluster.pool(disk).stat(f"rbd_id.{disk.source['image']}")
        except rados.ObjectNotFound:
            return False
    return True


def _observe_for_new(desired: DesiredImage, bench: Workbench) -> ObservedRbd:
    former = _former(desired, bench)
    if former:
        return ObservedRbd(exists=False, former=former)
    cluster = cluster_of(desired.disk, bench)
    defaults = _defaults(cluster.defaults(desired.disk))
    pool = desired.provision.get("data_pool", defaults.data_pool)
    if pool and not cluster.handle.pool_exists(pool):
        raise DeclarationError("data_pool", f"the cluster has no pool {pool}; list them with ceph osd pool ls")
    origin = desired.disk.origin
    new = _observe_source(desired.disk, origin, defaults, bench) if origin else NewImage(defaults)
    return ObservedRbd(exists=False, new=new)


def _former(desired: DesiredImage, bench: Workbench) -> FormerImage | None:
    """Return the image that must be renamed or taken out of the trash."""
    disk, name = desired.disk, desired.provision.get("renamed_from")
    if name:
        observed = observe_image(replace(desired, disk=at(disk, image=name)), bench)
        if observed:
            return FormerImage(observed, name=name)
    trashed = _in_trash(disk, bench) if desired.provision["restore"] else []
    if len(trashed) > 1:
        raise DeclarationError(
            disk.described, f"is in the trash {len(trashed)} times (ids {', '.join(trashed)}); restore one by rbd trash"
        )
    observed = observe_image(desired, bench, identifier=trashed[0]) if trashed else None
    return FormerImage(observed, trash_id=trashed[0]) if observed else None


def _in_trash(disk: Disk, bench: Workbench) -> list[str]:
    import rbd

    with speaking_of(disk, "error reading the trash"):
        entries = rbd.RBD().trash_list(cluster_of(disk, bench).pool(disk))
        return sorted(entry["id"] for entry in entries if entry["name"] == disk.source["image"])


def _defaults(config: dict[str, str]) -> Layout:
    bits = int(config["rbd_default_features"])
    return Layout(
        features=tuple(name for name, bit in FEATURES.items() if bits & bit),
        object_size=2 ** int(config["rbd_default_order"]),
        stripe_unit=int(config["rbd_default_stripe_unit"]),
        stripe_count=int(config["rbd_default_stripe_count"]),
        data_pool=config["rbd_default_data_pool"],
    )


def _observe_source(disk: Disk, origin: Disk, defaults: Layout, bench: Workbench) -> NewImage:
    """Observe the source: a snapshot of the same cluster in the same format can be cloned, all else is copied."""
    if not _cloneable(disk, origin, bench):
        with speaking_of(origin):
            return NewImage(defaults, size_of_source(origin, bench))
    with opened(beside(disk, origin), bench) as image:
        if image is None:
            raise HostError("there is no such image or snapshot; correct source")
        problem = raw_problem(image, origin)
        if problem:
            raise HostError(problem)
        stat, (metadata, image_config) = image.stat(), metadata_of(image)
        clone = CloneSource(
            parent=origin.backend.source.describe(origin.source),
            protected=bool(image.is_protected_snap(origin.source["snapshot"])),
            object_size=stat["obj_size"],
            metadata=metadata,
            image_config=image_config,
            clone_format=_clone_format(disk, cluster_of(disk, bench)),
        )
    size = virtual_size(origin, bench) if is_translated(origin) else stat["size"]
    return NewImage(defaults, size, clone)


def beside(disk: Disk, origin: Disk) -> Disk:
    """Return a source in the cluster of a disk, opened as that disk's user."""
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
    """Return 2 if a parent needs no protection: by configuration, or because all clients are new enough."""
    configured = cluster.defaults(disk)["rbd_default_clone_format"]
    if configured in ("1", "2"):
        return int(configured)
    with speaking_of(disk, "error reading what clients the cluster expects"):
        oldest = cluster.ask("osd get-require-min-compat-client")
    return 2 if "mimic" <= oldest != "unknown" else 1


def _refuse_config(desired: DesiredImage, cluster: Cluster) -> None:
    """Refuse options that Ceph's client does not know, and values that it cannot read."""
    config = texts_of(desired.provision.get("image_config", {}))
    for name, text in config.items():
        known = cluster.defaults(desired.disk)
        if name not in known:
            problem = f"is not an option that an image can have{did_you_mean(name, known)}"
            raise DeclarationError(f"image_config: {name}", problem)
        if text is not None and not cluster.understands(name, text):
            raise DeclarationError(f"image_config: {name}", f"Ceph cannot read the value {text!r}")


def _refuse_namespace(disk: Disk, cluster: Cluster) -> None:
    """Refuse a missing namespace: an image in it looks like any missing image."""
    import rbd

    name = disk.source.get("namespace")
    with speaking_of(disk), contextlib.suppress(rbd.PermissionError):
        if name and not rbd.RBD().namespace_exists(cluster.pool(disk), name):
            raise HostError(f"namespace '{name}' does not exist")
