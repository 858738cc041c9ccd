# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looks at, makes, changes and removes images that are files."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Callable

from ansible_collections.directdisk.qemu.plugins.module_utils._access.workbench import Workbench
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.contract import Values
from ansible_collections.directdisk.qemu.plugins.module_utils._clients.qmp import Monitor
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.explain import storage_errors
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.image_format import (
    format_options,
    has_format,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import (
    AlreadyExistsError,
    HostError,
    MadeMeanwhileError,
    QmpError,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._host.host_mark import host_mark
from ansible_collections.directdisk.qemu.plugins.module_utils._host.running import machines_that_open
from ansible_collections.directdisk.qemu.plugins.module_utils._images.contract import DesiredImage, ObservedImage
from ansible_collections.directdisk.qemu.plugins.module_utils._images.image import plan as plans
from ansible_collections.directdisk.qemu.plugins.module_utils._images.image.verify import observe_content, verify
from ansible_collections.directdisk.qemu.plugins.module_utils._images.stores.contract import Files, Store
from ansible_collections.directdisk.qemu.plugins.module_utils._images.stores.registry import STORES

_LONG = 7 * 24 * 3600.0
"""Seconds that storage may take to set a whole image aside."""
_MISSING = re.compile("NFS3ERR_NOENT|No such file")
"""How the storage of images that are files says that there is none."""


def temporary(path: str) -> str:
    """Where this host makes an image, beside its place: two hosts that make the same one do not meet."""
    return f"{path}.unfinished-{host_mark()}"


def look(desired: DesiredImage, bench: Workbench) -> ObservedImage:
    disk = desired.disk
    store = STORES[disk.backend.name]
    opened = {"opened_by": machines_that_open(disk.identity)}
    if disk.backend.lingers and _is_missing(disk, store, bench):
        return {"exists": False, **opened, "around": _around(desired, store, bench)}
    with contextlib.ExitStack() as stack:
        try:
            storage = stack.enter_context(bench.storage(disk))
        except QmpError as error:
            if not _MISSING.search(str(error)):
                raise
            return {"exists": False, **opened, "around": _around(desired, store, bench)}
        found = {**observe_content(desired, storage, in_use=bool(opened["opened_by"])), **opened}
    if desired.state == "absent" or _must_be_made_anew(desired, found):
        found["around"] = _around(desired, store, bench)
    return found


def _is_missing(disk: Disk, store: Store, bench: Workbench) -> bool:
    """QEMU would find that out too, at the price of having opened it."""
    with storage_errors(disk), store.files(disk, bench) as files:
        return files.kind(store.path(disk)) == "missing"


def _must_be_made_anew(desired: DesiredImage, found: ObservedImage) -> bool:
    return bool(desired.provision.get("overwrite")) and "problem" in found


def _around(desired: DesiredImage, store: Store, bench: Workbench) -> dict[str, Any]:
    """What matters before an image is made or removed: its folder, what was left there, what it begins as."""
    path, found = store.path(desired.disk), dict[str, Any]()
    with storage_errors(desired.disk), store.files(desired.disk, bench) as files:
        found["folder"] = files.folder(path)
        if files.kind(temporary(path)) != "missing":
            found["unfinished"] = temporary(path)
    if desired.disk.origin and desired.state == "present":
        found["source_size"] = bench.size_of_source(desired.disk.origin)
    return found


def make(desired: DesiredImage, values: Values, bench: Workbench) -> None:
    """A whole image, or none: it is put in its place when everything else is done."""
    disk = desired.disk
    store = STORES[disk.backend.name]
    place = store.path(disk)
    aside = temporary(place)
    with storage_errors(disk):
        with store.files(disk, bench) as files:
            files.make(aside)
        try:
            _build_surely(desired, store.at(disk, aside), store, values["size"], bench)
            verify(replace(desired, disk=store.at(disk, aside)), bench, "nothing was kept")
            others = _keeps_others_out(desired, bench) if values["overwrite"] else contextlib.nullcontext()
            with others, store.files(disk, bench) as files:
                _put(files, disk, (aside, place), overwrite=values["overwrite"])
        except BaseException:
            with contextlib.suppress(HostError), store.files(disk, bench) as files:
                files.remove(aside)
            raise


def _put(files: Files, disk: Disk, paths: tuple[str, str], *, overwrite: bool) -> None:
    """Give the finished image its name. The storage itself refuses to replace what another host has put there."""
    try:
        files.put(*paths, overwrite=overwrite)
    except AlreadyExistsError:
        raise MadeMeanwhileError(disk.described) from None


def _build_surely(desired: DesiredImage, disk: Disk, store: Store, size: int, bench: Workbench) -> None:
    def empty() -> None:
        with store.files(disk, bench) as files:
            files.remove(store.path(disk))
            files.make(store.path(disk))

    _surely(disk, lambda: _build(desired, disk, store, size, bench), empty)


def _surely(disk: Disk, work: Callable[[], None], begin_anew: Callable[[], None] = lambda: None) -> None:
    """What takes seconds to close may crash QEMU over it: its work is done once more then."""
    try:
        work()
    except HostError:
        if not disk.backend.lingers:
            raise
        begin_anew()
        work()


def _build(desired: DesiredImage, disk: Disk, store: Store, size: int, bench: Workbench) -> None:
    preallocation = desired.provision["preallocation"]
    seconds = _LONG if preallocation in ("falloc", "full") else None
    if has_format(disk):
        bench.create(disk, lambda node: store.create(node, 0, "off"))
        with bench.storage(disk, writable=True) as storage:
            storage.write_format(format_options(disk, desired.provision, size, storage.key), seconds=seconds)
    else:
        bench.create(disk, lambda node: store.create(node, size, preallocation), seconds=seconds)
    if disk.origin:
        # What is encrypted without a format of its own reads as noise.
        bench.copy(disk.origin, disk, blank=disk.settings["format"] != "raw" or not has_format(disk))


def resize(desired: DesiredImage, values: Values, bench: Workbench) -> None:
    """A machine that has the disk open grows it itself."""
    if desired.monitor and os.path.exists(desired.monitor):
        with storage_errors(desired.disk), Monitor.connect(desired.monitor, seconds=bench.open_timeout) as monitor:
            monitor.execute("block_resize", {"node-name": desired.node, "size": values["size"]})
        return
    with _keeps_others_out(desired, bench):
        pass  # A machine that no unit tells of is noticed. While this is held, QEMU would refuse to resize it.
    _surely(desired.disk, lambda: _resize(desired.disk, values["size"], bench))


def _resize(disk: Disk, size: int, bench: Workbench) -> None:
    with bench.image(disk, writable=True) as image:
        image.resize(size)


def remove(desired: DesiredImage, values: Values, bench: Workbench) -> None:
    del values
    disk, store = desired.disk, STORES[desired.disk.backend.name]
    with storage_errors(disk), store.files(disk, bench) as files, _keeps_others_out(desired, bench):
        files.remove(store.path(disk))


def clear(desired: DesiredImage, values: Values, bench: Workbench) -> None:
    """Remove what a killed run has left."""
    disk, store = desired.disk, STORES[desired.disk.backend.name]
    with storage_errors(disk), store.files(disk, bench) as files:
        files.remove(values["path"])


@contextlib.contextmanager
def _keeps_others_out(desired: DesiredImage, bench: Workbench) -> Iterator[None]:
    """Hold QEMU's own lock on what is there, where the storage has one: no machine has the image open, nor opens it."""
    store = STORES.get(desired.disk.backend.name)
    if desired.provision.get("force") or not (store and store.locks):
        yield
        return
    # A node that nobody uses holds no lock.
    with bench.storage(desired.disk, writable=True) as storage, storage.served(writable=True):
        yield


check, plan = plans.check, plans.plan
ACTIONS = {"make": make, "resize": resize, "remove": remove, "clear": clear}
