# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Creates rbd images: whole or not there. Ceph makes the image, and QEMU what a guest sees in it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any, Callable

from ansible_collections.directdisk.qemu.plugins.module_utils._access.workbench import Workbench
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.image_format import (
    format_options,
    has_format,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import (
    CapabilityError,
    MadeMeanwhileError,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.contract import DesiredImage
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.rbd.changes import CreateImage
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.rbd.observed import Layout
from ansible_collections.directdisk.qemu.plugins.module_utils._images.rbd.cluster import (
    bounded,
    cluster_of,
    speaking_of,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._images.rbd.image import FEATURES, opened, part_of
from ansible_collections.directdisk.qemu.plugins.module_utils._images.rbd.observe import beside
from ansible_collections.directdisk.qemu.plugins.module_utils._images.rbd.remove import (
    CREATED_WITHIN,
    changed,
    remove_image,
)

_CHUNK = 64 * 1024**2


def create(desired: DesiredImage, change: CreateImage, bench: Workbench) -> None:
    """Create an image, under another name until it is whole."""
    if _is_whole_at_once(desired, change):
        _create(desired.disk, change, bench)
    else:
        _create_in_parts(desired, change, bench)


def _is_whole_at_once(desired: DesiredImage, change: CreateImage) -> bool:
    """Tell if Ceph creates the whole image with its header; striping and a journal are added after that."""
    disk = desired.disk
    blank = not (disk.origin or has_format(disk) or "encryption" in disk.source or desired.provision["thick"])
    return blank and not {"striping", "journaling"} & set(change.layout.features)


def _create_in_parts(desired: DesiredImage, change: CreateImage, bench: Workbench) -> None:
    disk, part = desired.disk, part_of(desired.disk)
    origin = disk.origin if change.clone else None
    if origin:
        _clone(beside(disk, origin), part, change, bench)
    else:
        _create(part, change, bench)
    try:
        with _held(part, bench):
            if not origin:
                _write_formats(part, change.size, bench)
            _complete(desired, part, change, bench)
            _put_in_place(part, disk, bench)
    except MadeMeanwhileError:
        remove_image(part, bench, "it is still open")
        raise


@contextlib.contextmanager
def _held(part: Disk, bench: Workbench) -> Iterator[None]:
    """Keep an unfinished image open until it has its final name: other hosts see a watcher and do not remove it."""
    import rbd

    with speaking_of(part, "error opening"):
        image = rbd.Image(cluster_of(part, bench).pool(part), part.source["image"])
    try:
        yield
    finally:
        image.close()


def _complete(desired: DesiredImage, part: Disk, change: CreateImage, bench: Workbench) -> None:
    disk = desired.disk
    if change.clone and change.initial_size != change.size:
        set_size(part, change.size, change.initial_size, bench)
    if disk.origin and not change.clone:
        # Blocks that were never written read as noise through LUKS, and as zeroes otherwise.
        blank = "luks" not in disk.settings or disk.settings["format"] != "raw"
        bench.copy(*(bounded(image, bench.open_timeout) for image in (disk.origin, part)), blank=blank)
    if desired.provision["thick"]:
        _fill(part, change.size, bench)


def _put_in_place(part: Disk, disk: Disk, bench: Workbench) -> None:
    """Rename the finished image. Ceph refuses a name that is taken; one that an interrupted creation took is freed."""
    import rbd

    pool, names = cluster_of(disk, bench).pool(disk), (part.source["image"], disk.source["image"])
    with speaking_of(disk, "error renaming"):
        try:
            rbd.RBD().rename(pool, *names)
        except rbd.ImageExists:
            _remove_interrupted(disk, bench)
            rbd.RBD().rename(pool, *names)


def _create(image: Disk, change: CreateImage, bench: Workbench) -> None:
    import rbd

    pool, size = cluster_of(image, bench).pool(image), 0 if has_format(image) else change.size
    layout = _layout_arguments(change.layout)
    with speaking_of(image, "error creating"):
        _retry_if_interrupted(image, bench, lambda: rbd.RBD().create(pool, image.source["image"], size, **layout))


def _write_formats(part: Disk, size: int, bench: Workbench) -> None:
    """Write Ceph's encryption and QEMU's format, if they are declared."""
    if "encryption" in part.source:
        _encrypt(part, size, bench)
    if has_format(part):
        _write_format(part, size, bench)


def _layout_arguments(layout: Layout) -> dict[str, Any]:
    """Return the arguments of Ceph's bindings for a layout; None leaves a default."""
    striped = "striping" in layout.features
    return {
        "features": sum(FEATURES[name] for name in layout.features if name not in ("striping", "data-pool")),
        "order": layout.object_size.bit_length() - 1,
        "stripe_unit": layout.stripe_unit if striped else None,
        "stripe_count": layout.stripe_count if striped else None,
        "data_pool": layout.data_pool or None,
    }


def _clone(origin: Disk, part: Disk, change: CreateImage, bench: Workbench) -> None:
    import rbd

    cluster, source = cluster_of(part, bench), origin.source
    where = (cluster.pool(origin), source["image"], source["snapshot"], cluster.pool(part), part.source["image"])
    layout = _layout_arguments(change.layout)
    with speaking_of(part, "error cloning"):
        _retry_if_interrupted(part, bench, lambda: rbd.RBD().clone(*where, **layout))


def _retry_if_interrupted(image: Disk, bench: Workbench, make: Callable[[], None]) -> None:
    """Make an image; if its name is taken by an interrupted creation, remove that and make it then."""
    import rbd

    try:
        make()
    except rbd.ImageExists:
        _remove_interrupted(image, bench)
        make()


def _remove_interrupted(disk: Disk, bench: Workbench) -> None:
    """Remove an image that is listed in the directory and cannot be opened, unless its creation still goes on."""
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
    """Format Ceph's own encryption. It takes space at the image's end, so the image grows by as much."""
    import rbd

    encryption = part.source["encryption"]
    form = {"luks": "RBD_ENCRYPTION_FORMAT_LUKS1", "luks2": "RBD_ENCRYPTION_FORMAT_LUKS2"}[encryption["format"]]
    if not hasattr(rbd, form):
        raise CapabilityError(part.described, "this host's librbd cannot encrypt; install Ceph 16 or later")
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
        raise CapabilityError(part.described, "this host's librbd cannot write an image full; install Ceph 16 or later")
    with changed(part, bench, "error writing") as image, bench.progress.step("write zeroes", size) as step:
        for offset in range(0, size, _CHUNK):
            length = min(_CHUNK, size - offset)
            image.write_zeroes(offset, length, rbd.RBD_WRITE_ZEROES_FLAG_THICK_PROVISION)
            step.done = offset + length


def rename_image(old: Disk, new: Disk, bench: Workbench) -> None:
    import rbd

    with speaking_of(new, "error renaming"):
        rbd.RBD().rename(cluster_of(new, bench).pool(new), old.source["image"], new.source["image"])


def set_size(disk: Disk, size: int, former_size: int, bench: Workbench) -> None:
    """Resize an image; both sizes are bytes that a guest sees, without what Ceph's encryption takes."""
    if has_format(disk):
        with speaking_of(disk), bench.image(disk, writable=True) as node:
            node.resize(size)
    else:
        with changed(disk, bench, "error resizing") as image:
            image.resize(size + image.size() - former_size, allow_shrink=True)
