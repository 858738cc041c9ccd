# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images that can only be read: what their server has, and the host's copy of them."""

from __future__ import annotations

import os
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._access import image_cache, web_image
from ansible_collections.directdisk.qemu.plugins.module_utils._access.confinement import confinement
from ansible_collections.directdisk.qemu.plugins.module_utils._access.image_header import read_header
from ansible_collections.directdisk.qemu.plugins.module_utils._access.workbench import Workbench
from ansible_collections.directdisk.qemu.plugins.module_utils._access.workspace import FolderWiring
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.contract import Values
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.explain import explained
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError, HostError
from ansible_collections.directdisk.qemu.plugins.module_utils._host.running import machines_that_open
from ansible_collections.directdisk.qemu.plugins.module_utils._images.contract import (
    DesiredImage,
    ImagePlan,
    ObservedImage,
    Step,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._images.image import plan as plans
from ansible_collections.directdisk.qemu.plugins.module_utils._images.image.verify import (
    describe_header,
    observe_content,
    size_problem,
    verify,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._programs import image_fetch
from ansible_collections.directdisk.qemu.plugins.module_utils._routes import stage
from ansible_collections.directdisk.qemu.plugins.module_utils._routes.selection import choose_route

_KEEPING = ("cluster_size", "preallocation", "lazy_refcounts", "backing", "allow_shrink", "overwrite")


def check(desired: DesiredImage) -> None:
    disk = desired.disk
    if desired.state == "absent" and not _is_of_copy(desired):
        hint = f" (this host's copy of it can: say route: {stage.ROUTE.name})" if disk.backend.stage else ""
        raise DeclarationError("state", f"absent: {disk.described} can only be read, so it cannot be removed{hint}")
    for option in _KEEPING:
        if desired.provision.get(option, "off") != "off":
            raise DeclarationError(option, f"{disk.described} can only be read")


def _is_of_copy(desired: DesiredImage) -> bool:
    """Whether it is the host's copy that is meant, whatever route this host would take by itself."""
    return bool(desired.disk.settings["route"] == stage.ROUTE.name)


def look(desired: DesiredImage, bench: Workbench) -> ObservedImage:
    disk = desired.disk
    if desired.state == "absent":
        opened = machines_that_open(disk.identity)
        there = os.path.exists(stage.copy_of(disk))
        return {"exists": there, "staged": there, "opened_by": opened}
    route, _warning = choose_route(disk, bench.capabilities)
    around: dict[str, Any] = {"staged": route == stage.ROUTE.name, "warnings": []}
    said = _said(desired, bench, around) if disk.backend.stage else None
    found: dict[str, Any] = {}
    if said:
        found.update(etag=said.etag, last_modified=said.last_modified)
    if not around["staged"]:
        with bench.storage(disk) as storage:
            return {**observe_content(desired, storage), **found, "around": around}
    found.update(staged=os.path.exists(stage.copy_of(disk)), stale=False)
    if found["staged"]:
        found["stale"] = said is not None and "sha256" not in disk.source and image_cache.is_stale(disk, said)
        with bench.storage(disk) as storage:
            return {**observe_content(desired, storage), **found, "around": around}
    return {**_look_before(desired, said or web_image.Said(), bench), **found, "around": around}


def _said(desired: DesiredImage, bench: Workbench, around: dict[str, Any]) -> web_image.Said | None:
    """What the server says; with a copy at hand it may stay away."""
    disk = desired.disk
    try:
        said = web_image.ask(
            disk, FolderWiring(bench.folder, disk.name), seconds=bench.open_timeout, begin=_begin(disk, bench)
        )
    except HostError as error:
        if not around["staged"] or not os.path.exists(stage.copy_of(disk)):
            raise
        around["warnings"].append(f"{explained(disk, error)}; its copy on this host was looked at alone")
        return None
    _check_said(desired, said)
    return said


def _begin(disk: Disk, bench: Workbench) -> list[str]:
    return bench.confined(confinement(stage.followed(disk, disk.backend.reach(disk.source))))


def _check_said(desired: DesiredImage, said: web_image.Said) -> None:
    if said.place not in stage.places_of(desired.disk):
        raise HostError(image_fetch.sent_on(said.place))
    for option, found in (("etag", said.etag), ("last_modified", said.last_modified)):
        wish = desired.provision.get(option, found)
        if wish != found:
            raise HostError(
                f"the server has another image: its {option} is {found or 'not said'}, and {wish} is declared"
            )


def _look_before(desired: DesiredImage, said: web_image.Said, bench: Workbench) -> dict[str, Any]:
    """What will be in the copy: of a raw image the server has said how long it is."""
    disk = desired.disk
    head = said.head or web_image.read_head(
        disk, FolderWiring(bench.folder, disk.name), seconds=bench.open_timeout, begin=_begin(disk, bench)
    )
    found = describe_header(disk, read_header(head), said.length)
    return {"exists": True, **size_problem(desired, found["size"]), **found}


def plan(desired: DesiredImage, observed: ObservedImage) -> ImagePlan:
    disk = desired.disk
    if desired.state == "absent":
        if not observed["staged"]:
            return ImagePlan(observed)
        plans.refuse_in_use(desired, observed, "forgotten")
        return ImagePlan(
            {**observed, "exists": False, "staged": False}, (Step("forget", f"remove the copy of {disk.described}"),)
        )
    around = observed["around"]
    warnings = list(around["warnings"])
    if "problem" in observed:
        raise DeclarationError("", f"{observed['problem']}; correct the declaration, or find out who changed the image")
    refresh = desired.provision.get("refresh", False)
    if around["staged"] and observed["stale"] and not refresh:
        warnings.append(
            f"{disk.described}: the server has another image than this host's copy; refresh: true fetches it"
        )
    if not around["staged"] or (observed["staged"] and not (observed["stale"] and refresh)):
        return ImagePlan(observed, warnings=tuple(warnings))
    verb = "again " if observed["staged"] else ""
    step = Step("fetch", f"fetch {disk.described} {verb}into this host's cache")
    return ImagePlan({**observed, "staged": True, "stale": False}, (step,), tuple(warnings))


def fetch(desired: DesiredImage, values: Values, bench: Workbench) -> None:
    del values
    with image_cache.replaced(desired.disk):
        image_cache.fetch(desired.disk, bench)
        verify(desired, bench, "nothing was kept")


def forget(desired: DesiredImage, values: Values, bench: Workbench) -> None:
    del values, bench
    image_cache.forget(desired.disk)


ACTIONS = {"fetch": fetch, "forget": forget}
