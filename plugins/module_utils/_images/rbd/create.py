# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Creates rbd images: whole or not there. Ceph makes the image, and QEMU what a guest sees in it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any, Callable

from ansible_collections.directdisk.qemu.plugins.module_utils._access.workbench import Workbench
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.contract import Values
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.image_format import (
    format_options,
    has_format,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import (
    CapabilityError,
    MadeMeanwhileError,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._images.contract import DesiredImage
from ansible_collections.directdisk.qemu.plugins.module_utils._images.rbd.cluster import (
    bounded,
    cluster_of,
    speaking_of,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._images.rbd.observe import (
    FEATURES,
    beside,
    opened,
    part_of,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._images.rbd.remove import (
    CREATED_WITHIN,
    changed,
    remove_image,
)

_CHUNK = 64 * 1024**2


def make(desired: DesiredImage, values: Values, bench: Workbench) -> None:
    """Make an image, under a name that nobody uses until it is whole."""
    if _is_whole_at_once(desired, values):
        _create(desired.disk, values, bench)
    else:
        _make_in_parts(desired, values, bench)


def _is_whole_at_once(desired: DesiredImage, values: Values) -> bool:
    """Whether Ceph makes the whole image as it writes its header; striping and a journal come after that."""
    disk = desired.disk
    blank = not (disk.origin or has_format(disk) or "encryption" in disk.source or desired.provision["thick"])
    return blank and not {"striping", "journaling"} & set(values["features"])


def _make_in_parts(desired: DesiredImage, values: Values, bench: Workbench) -> None:
    disk, part = desired.disk, part_of(desired.disk)
    origin = disk.origin if values["clone"] else None
    if origin:
        _clone(beside(disk, origin), part, values, bench)
    else:
        _create(part, values, bench)
    try:
        with _held(part, bench):
            if not origin:
                _write_forms(part, values["size"], bench)
            _complete(desired, part, values, bench)
            _put_in_place(part, disk, bench)
    except MadeMeanwhileError:
        remove_image(part, bench, "it is still open")
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


def _complete(desired: DesiredImage, part: Disk, values: Values, bench: Workbench) -> None:
    disk = desired.disk
    if values["was"] != values["size"]:
        set_size(part, values["size"], values["was"], bench)
    if disk.origin and not values["clone"]:
        # What was never written reads as noise through LUKS, and as zeroes through everything else.
        blank = "luks" not in disk.settings or disk.settings["format"] != "raw"
        bench.copy(*(bounded(image, bench.open_timeout) for image in (disk.origin, part)), blank=blank)
    if desired.provision["thick"]:
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


def rename_image(old: Disk, new: Disk, bench: Workbench) -> None:
    import rbd

    with speaking_of(new, "error renaming"):
        rbd.RBD().rename(cluster_of(new, bench).pool(new), old.source["image"], new.source["image"])


def set_size(disk: Disk, size: int, was: int, bench: Workbench) -> None:
    """size, was: bytes that a guest sees; what Ceph's encryption takes stands beside them."""
    if has_format(disk):
        with speaking_of(disk), bench.image(disk, writable=True) as node:
            node.resize(size)
    else:
        with changed(disk, bench, "error resizing") as image:
            image.resize(size + image.size() - was, allow_shrink=True)
