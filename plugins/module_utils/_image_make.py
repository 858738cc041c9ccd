# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes, changes and removes images that are files."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from ansible_collections.directdisk.qemu.plugins.module_utils._backend import Values
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError
from ansible_collections.directdisk.qemu.plugins.module_utils._formats import format_options, has_format
from ansible_collections.directdisk.qemu.plugins.module_utils._hints import storage_errors
from ansible_collections.directdisk.qemu.plugins.module_utils._image_look import look_inside, temporary
from ansible_collections.directdisk.qemu.plugins.module_utils._lifecycle import Wanted
from ansible_collections.directdisk.qemu.plugins.module_utils._qmp import Monitor
from ansible_collections.directdisk.qemu.plugins.module_utils._store import Store
from ansible_collections.directdisk.qemu.plugins.module_utils._stores import STORES
from ansible_collections.directdisk.qemu.plugins.module_utils._workbench import Workbench

_LONG = 7 * 24 * 3600.0
"""Seconds that storage may take to set a whole image aside."""


def make(wanted: Wanted, values: Values, bench: Workbench) -> None:
    """A whole image, or none: it is put in its place when everything else is done."""
    disk = wanted.disk
    store = STORES[disk.backend.name]
    place = store.path(disk)
    aside = temporary(place)
    with storage_errors(disk):
        with store.files(disk, bench) as files:
            files.make(aside)
        try:
            _build(wanted, store.at(disk, aside), store, values["size"], bench)
            with store.files(disk, bench) as files, _not_in_use(disk, bench, wanted=values["overwrite"]):
                files.put(aside, place, overwrite=values["overwrite"])
        except BaseException:
            with contextlib.suppress(HostError), store.files(disk, bench) as files:
                files.remove(aside)
            raise


def _build(wanted: Wanted, disk: Disk, store: Store, size: int, bench: Workbench) -> None:
    preallocation = wanted.provision["preallocation"]
    seconds = _LONG if preallocation in ("falloc", "full") else None
    if has_format(disk):
        bench.create(disk, lambda node: store.create(node, 0, "off"))
        with bench.storage(disk, writable=True) as storage:
            storage.write_format(format_options(disk, wanted.provision, size, storage.key), seconds=seconds)
    else:
        bench.create(disk, lambda node: store.create(node, size, preallocation), seconds=seconds)
    if disk.origin:
        # What is encrypted without a format of its own reads as noise.
        bench.copy(disk.origin, disk, blank=disk.settings["format"] != "raw" or not has_format(disk))
    if "sha256" in wanted.provision or wanted.provision["check"]:
        with bench.storage(disk) as storage:
            problem = look_inside(wanted, storage).get("problem")
        if problem:
            raise HostError(f"{problem}; nothing was kept")


def resize(wanted: Wanted, values: Values, bench: Workbench) -> None:
    """A machine that has the disk open grows it itself."""
    if wanted.monitor and os.path.exists(wanted.monitor):
        with storage_errors(wanted.disk), Monitor.connect(wanted.monitor, seconds=bench.open_timeout) as monitor:
            monitor.execute("block_resize", {"node-name": wanted.node, "size": values["size"]})
        return
    with bench.image(wanted.disk, writable=True) as image:
        image.resize(values["size"])


def remove(wanted: Wanted, values: Values, bench: Workbench) -> None:
    del values
    disk, store = wanted.disk, STORES[wanted.disk.backend.name]
    with storage_errors(disk), store.files(disk, bench) as files, _not_in_use(disk, bench, wanted=True):
        files.remove(store.path(disk))


def clear(wanted: Wanted, values: Values, bench: Workbench) -> None:
    """Remove what a killed run has left."""
    disk, store = wanted.disk, STORES[wanted.disk.backend.name]
    with storage_errors(disk), store.files(disk, bench) as files:
        files.remove(values["path"])


@contextlib.contextmanager
def _not_in_use(disk: Disk, bench: Workbench, *, wanted: bool) -> Iterator[None]:
    """Hold QEMU's own lock, where the storage has one, so that nobody opens the image meanwhile."""
    if not wanted:
        yield
        return
    with bench.storage(disk, writable=True):
        yield
