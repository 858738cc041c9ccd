# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Observes, creates, changes and removes images that are files."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Callable

from ansible_collections.directdisk.qemu.plugins.module_utils._access.workbench import Workbench
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
from ansible_collections.directdisk.qemu.plugins.module_utils._host.storage_users import vms_that_open
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.contract import DesiredImage
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.image.changes import (
    CreateImage,
    RemoveImage,
    RemoveUnfinished,
    ResizeImage,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.image.observed import ObservedFile
from ansible_collections.directdisk.qemu.plugins.module_utils._images.image.open_file import observe_open_file
from ansible_collections.directdisk.qemu.plugins.module_utils._images.image.verify import observe_content, verify
from ansible_collections.directdisk.qemu.plugins.module_utils._images.lifecycle import Actions
from ansible_collections.directdisk.qemu.plugins.module_utils._images.sources import size_of_source
from ansible_collections.directdisk.qemu.plugins.module_utils._images.stores.contract import Files, Store
from ansible_collections.directdisk.qemu.plugins.module_utils._images.stores.registry import STORES
from ansible_collections.directdisk.qemu.plugins.module_utils._routes.registry import ROUTES
from ansible_collections.directdisk.qemu.plugins.module_utils._routes.selection import choose_route

_LONG = 7 * 24 * 3600.0
"""Seconds that storage may take to preallocate a whole image."""
_FULL = 1 << 16
"""Fewer free bytes than QEMU writes at once."""
_MISSING = re.compile(r"NFS3ERR_NOENT|: No such file or directory|\(.*sftp error code: 2\)|SFTP server: No such")
"""Errors of QEMU and nbdkit about a file that does not exist; an SSH server says it in its own language."""


def temporary(path: str) -> str:
    """Return the path of an unfinished image, beside its final path; each host has its own."""
    return f"{path}.unfinished-{host_mark()}"


def observe(desired: DesiredImage, bench: Workbench) -> ObservedFile:
    disk = desired.disk
    store = STORES[disk.backend.name]
    opened_by = tuple(vms_that_open(disk, bench.users))
    route = choose_route(disk, bench.capabilities)[0]
    fixed_by = "" if ROUTES[route].grows else route
    if opened_by and desired.state != "absent" and disk.backend.access.driver == "file":
        known = observe_open_file(desired, store.storage.path(disk))
        if known and not known.problem:
            return replace(known, opened_by=opened_by, fixed_by=fixed_by)
    missing = ObservedFile(exists=False, opened_by=opened_by, fixed_by=fixed_by)
    if disk.backend.access.closes_slowly and _is_missing(disk, store, bench):
        return _add_surroundings(missing, desired, store, bench)
    with contextlib.ExitStack() as stack:
        try:
            storage = stack.enter_context(bench.storage(disk))
        except QmpError as error:
            if not _MISSING.search(str(error)):
                raise
            if desired.state == "present":
                _need_driver(disk, route)
            return _add_surroundings(missing, desired, store, bench)
        observed = observe_content(ObservedFile, desired, storage, in_use=bool(opened_by))
    observed = replace(observed, opened_by=opened_by, fixed_by=fixed_by)
    if desired.state == "absent" or (desired.provision.get("overwrite") and observed.problem):
        return _add_surroundings(observed, desired, store, bench)
    return observed


def _is_missing(disk: Disk, store: Store, bench: Workbench) -> bool:
    """Ask the storage itself: QEMU would have to open the image, which takes seconds to close."""
    with storage_errors(disk), store.files(disk, bench) as files:
        return files.kind(store.storage.path(disk)) == "missing"


def _need_driver(disk: Disk, route: str) -> None:
    """Raise HostError if an image would have to be made by a route that only opens it."""
    if not ROUTES[route].grows:
        raise HostError(
            f"does not exist, and by route {route} this host only opens images; create it from a host whose QEMU has "
            f"the driver {disk.backend.access.driver}"
        )


def _add_surroundings(observed: ObservedFile, desired: DesiredImage, store: Store, bench: Workbench) -> ObservedFile:
    """Add the folder, an unfinished image and the source's size: what matters before an image is made or removed."""
    path = store.storage.path(desired.disk)
    with storage_errors(desired.disk), store.files(desired.disk, bench) as files:
        folder = files.folder(path)
        unfinished = temporary(path) if files.kind(temporary(path)) != "missing" else ""
    origin = desired.disk.origin if desired.state == "present" else None
    source_size = size_of_source(origin, bench) if origin else None
    return replace(observed, folder=folder, unfinished=unfinished, source_size=source_size)


def create(desired: DesiredImage, change: CreateImage, bench: Workbench) -> None:
    """Create a whole image, or none: it gets its name after everything else."""
    disk = desired.disk
    store = STORES[disk.backend.name]
    place = store.storage.path(disk)
    aside = temporary(place)
    with storage_errors(disk):
        with store.files(disk, bench) as files:
            files.make(aside)
        try:
            _build_with_retry(desired, store.storage.at(disk, aside), store, change.size, bench)
            verify(replace(desired, disk=store.storage.at(disk, aside)), bench, "nothing was kept")
            lock = _exclusive(desired, bench) if change.overwrite else contextlib.nullcontext()
            with lock, store.files(disk, bench) as files:
                _put(files, disk, (aside, place), overwrite=change.overwrite)
        except BaseException as error:
            failed = isinstance(error, HostError) and not isinstance(error, MadeMeanwhileError)
            full = failed and store.free and _is_full(store.free(disk, bench))
            with contextlib.suppress(HostError), store.files(disk, bench) as files:
                files.remove(aside)
            if full:
                raise HostError(f"No space left on the server: {error}") from None
            raise


def _is_full(free: int | None) -> bool:
    return free is not None and free < _FULL


def _put(files: Files, disk: Disk, paths: tuple[str, str], *, overwrite: bool) -> None:
    """Rename the finished image. The storage itself refuses to replace what another host has created."""
    try:
        files.put(*paths, overwrite=overwrite)
    except AlreadyExistsError:
        raise MadeMeanwhileError(disk.described) from None


def _build_with_retry(desired: DesiredImage, disk: Disk, store: Store, size: int, bench: Workbench) -> None:
    def empty() -> None:
        with store.files(disk, bench) as files:
            files.remove(store.storage.path(disk))
            files.make(store.storage.path(disk))

    _retry_after_crash(disk, lambda: _build(desired, disk, store, size, bench), empty)


def _retry_after_crash(disk: Disk, work: Callable[[], None], start_over: Callable[[], None] = lambda: None) -> None:
    """Do the work once more if QEMU crashes: storage that takes seconds to close may crash it."""
    try:
        work()
    except HostError:
        if not disk.backend.access.closes_slowly:
            raise
        start_over()
        work()


def _build(desired: DesiredImage, disk: Disk, store: Store, size: int, bench: Workbench) -> None:
    preallocation = desired.provision["preallocation"]
    seconds = _LONG if preallocation in ("falloc", "full") else None
    if has_format(disk):
        store.create(disk, bench, 0, "off", seconds=bench.open_timeout)
        with bench.storage(disk, writable=True) as storage:
            storage.write_format(format_options(disk, desired.provision, size, storage.key), seconds=seconds)
    else:
        store.create(disk, bench, size, preallocation, seconds=seconds or bench.open_timeout)
    if disk.origin:
        # New blocks of an image that is encrypted and has no other format do not read as zeroes.
        bench.copy(disk.origin, disk, blank=disk.settings["format"] != "raw" or not has_format(disk))


def resize(desired: DesiredImage, change: ResizeImage, bench: Workbench) -> None:
    """Resize an image; a VM that has the disk open grows it itself."""
    if desired.monitor and os.path.exists(desired.monitor):
        with storage_errors(desired.disk), Monitor.connect(desired.monitor, seconds=bench.open_timeout) as monitor:
            monitor.execute("block_resize", {"node-name": desired.node, "size": change.size})
        return
    with _exclusive(desired, bench):
        pass  # Notices a VM that no unit tells of. It must be released, because QEMU would refuse the resize.
    _retry_after_crash(desired.disk, lambda: _resize(desired.disk, change.size, bench))


def _resize(disk: Disk, size: int, bench: Workbench) -> None:
    store = STORES.get(disk.backend.name)  # exports and devices have none
    if store and store.resize and not has_format(disk):
        store.resize(disk, bench, size)
        return
    with bench.image(disk, writable=True) as image:
        image.resize(size)


def remove(desired: DesiredImage, change: RemoveImage, bench: Workbench) -> None:
    del change
    disk, store = desired.disk, STORES[desired.disk.backend.name]
    with storage_errors(disk), store.files(disk, bench) as files, _exclusive(desired, bench):
        files.remove(store.storage.path(disk))


def remove_unfinished(desired: DesiredImage, change: RemoveUnfinished, bench: Workbench) -> None:
    """Remove the unfinished image of an interrupted run."""
    disk, store = desired.disk, STORES[desired.disk.backend.name]
    with storage_errors(disk), store.files(disk, bench) as files:
        files.remove(change.path)


@contextlib.contextmanager
def _exclusive(desired: DesiredImage, bench: Workbench) -> Iterator[None]:
    """Hold QEMU's own lock on the image, if the storage has locks: no QEMU writes to it, and none can begin to."""
    store = STORES.get(desired.disk.backend.name)
    if desired.provision.get("force") or not (store and store.storage.locks):
        yield
        return
    with bench.storage(desired.disk, writable=True) as storage, storage.locked():
        yield


ACTIONS: Actions = {
    CreateImage: create,
    ResizeImage: resize,
    RemoveImage: remove,
    RemoveUnfinished: remove_unfinished,
}
