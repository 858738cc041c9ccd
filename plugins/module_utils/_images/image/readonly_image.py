# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images that can only be read, and this host's copies of them."""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace

from ansible_collections.directdisk.qemu.plugins.module_utils._access import image_cache, web_image
from ansible_collections.directdisk.qemu.plugins.module_utils._access.confinement import confinement
from ansible_collections.directdisk.qemu.plugins.module_utils._access.image_header import read_header
from ansible_collections.directdisk.qemu.plugins.module_utils._access.workbench import Workbench
from ansible_collections.directdisk.qemu.plugins.module_utils._access.workspace import FolderResources
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.explain import explained
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError
from ansible_collections.directdisk.qemu.plugins.module_utils._host.storage_users import vms_that_open
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.contract import (
    DesiredImage,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.image.changes import FetchCopy, RemoveCopy
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.image.observed import ObservedReadonly
from ansible_collections.directdisk.qemu.plugins.module_utils._images.image.verify import (
    describe_header,
    observe_content,
    size_problem,
    verify,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._images.lifecycle import Actions
from ansible_collections.directdisk.qemu.plugins.module_utils._programs import image_fetch
from ansible_collections.directdisk.qemu.plugins.module_utils._routes import stage
from ansible_collections.directdisk.qemu.plugins.module_utils._routes.selection import choose_route


def observe(desired: DesiredImage, bench: Workbench) -> ObservedReadonly:
    disk = desired.disk
    if desired.state == "absent":
        opened_by = tuple(vms_that_open(disk, bench.users))
        exists = os.path.exists(stage.copy_of(disk))
        return ObservedReadonly(exists=exists, staged=exists, opened_by=opened_by)
    route, _warning = choose_route(disk, bench.capabilities)
    uses_copy = route == stage.ROUTE.name
    staged = os.path.exists(stage.copy_of(disk)) if uses_copy else None
    answer, warnings = _ask_server(desired, bench, has_copy=bool(staged)) if disk.backend.access.stage else (None, ())
    if uses_copy and not staged:
        observed = _observe_before_fetch(desired, answer or web_image.ServerAnswer(), bench)
    else:
        with bench.storage(disk) as storage:
            observed = observe_content(ObservedReadonly, desired, storage)
    if uses_copy:
        known = answer if staged and "sha256" not in disk.source else None
        stale = known is not None and image_cache.is_stale(disk, known)
        observed = replace(observed, staged=staged, stale=stale)
    if answer:
        observed = replace(observed, etag=answer.etag, last_modified=answer.last_modified)
    return replace(observed, uses_copy=uses_copy, warnings=warnings)


def _ask_server(
    desired: DesiredImage, bench: Workbench, *, has_copy: bool
) -> tuple[web_image.ServerAnswer | None, tuple[str, ...]]:
    """Return the server's answer, and warnings; if this host has a copy, the server need not answer."""
    disk = desired.disk
    try:
        answer = web_image.ask(
            disk, FolderResources(bench.folder, disk.name), seconds=bench.open_timeout, begin=_begin(disk, bench)
        )
    except HostError as error:
        if not has_copy:
            raise
        return None, (f"{explained(disk, error)}; only its copy on this host was checked",)
    _check_answer(desired, answer)
    return answer, ()


def _begin(disk: Disk, bench: Workbench) -> list[str]:
    return bench.confined(confinement(stage.followed(disk, disk.backend.access.reach(disk.source))))


def _check_answer(desired: DesiredImage, answer: web_image.ServerAnswer) -> None:
    if answer.place not in stage.places_of(desired.disk):
        raise HostError(image_fetch.sent_on(answer.place))
    for option, value in (("etag", answer.etag), ("last_modified", answer.last_modified)):
        declared = desired.provision.get(option, value)
        if declared != value:
            raise HostError(
                f"the server has another image: its {option} is {value or 'not sent'}, and {declared} is declared"
            )


def _observe_before_fetch(desired: DesiredImage, answer: web_image.ServerAnswer, bench: Workbench) -> ObservedReadonly:
    """Predict the copy from the first bytes of the image, and from the length that the server tells."""
    disk = desired.disk
    head = answer.head or web_image.read_head(
        disk, FolderResources(bench.folder, disk.name), seconds=bench.open_timeout, begin=_begin(disk, bench)
    )
    observed = describe_header(ObservedReadonly, disk, read_header(head), answer.length)
    return observed if observed.problem else replace(observed, problem=size_problem(desired, observed.size))


def fetch(desired: DesiredImage, change: FetchCopy, bench: Workbench) -> None:
    del change
    with image_cache.replaced(desired.disk):
        image_cache.fetch(desired.disk, bench, _length(desired.disk, bench))
        verify(desired, bench, "nothing was kept")


def _length(disk: Disk, bench: Workbench) -> int | None:
    """Return the bytes of the image on its server, for the progress alone."""
    resources = FolderResources(bench.folder, f"{disk.name}.length")
    with contextlib.suppress(HostError):
        return web_image.ask(disk, resources, seconds=bench.open_timeout, begin=_begin(disk, bench)).length
    return None


def remove_copy(desired: DesiredImage, change: RemoveCopy, bench: Workbench) -> None:
    del change, bench
    image_cache.forget(desired.disk)


ACTIONS: Actions = {FetchCopy: fetch, RemoveCopy: remove_copy}
