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
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.values import Values
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.explain import explained
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError, HostError
from ansible_collections.directdisk.qemu.plugins.module_utils._host.running import vms_that_open
from ansible_collections.directdisk.qemu.plugins.module_utils._images.contract import Proposal, Seen, Step, Wanted
from ansible_collections.directdisk.qemu.plugins.module_utils._images.image import plan as plans
from ansible_collections.directdisk.qemu.plugins.module_utils._images.image.verify import (
    describe_header,
    look_inside,
    size_problem,
    verify,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._programs import image_fetch
from ansible_collections.directdisk.qemu.plugins.module_utils._routes import stage
from ansible_collections.directdisk.qemu.plugins.module_utils._routes.selection import choose_route

_KEEPING = ("cluster_size", "preallocation", "lazy_refcounts", "backing", "allow_shrink", "overwrite")
_NO_EFFECT = (None, False, "off")
"""Values of these options with which they ask for nothing."""


def check(wanted: Wanted) -> None:
    disk = wanted.disk
    if wanted.state == "absent" and not _is_of_copy(wanted):
        hint = f" (this host's copy of it can: say route: {stage.ROUTE.name})" if disk.backend.access.stage else ""
        raise DeclarationError("state", f"absent: {disk.described} can only be read, so it cannot be removed{hint}")
    for option in _KEEPING:
        if wanted.provision.get(option) not in _NO_EFFECT:
            raise DeclarationError(option, f"{disk.described} can only be read")


def _is_of_copy(wanted: Wanted) -> bool:
    """Whether it is the host's copy that is meant, whatever route this host would take by itself."""
    return bool(wanted.disk.settings["route"] == stage.ROUTE.name)


def look(wanted: Wanted, bench: Workbench) -> Seen:
    disk = wanted.disk
    if wanted.state == "absent":
        opened = vms_that_open(disk.identity)
        there = os.path.exists(stage.copy_of(disk))
        return {"exists": there, "staged": there, "opened_by": opened}
    route, _warning = choose_route(disk, bench.capabilities)
    around: dict[str, Any] = {"staged": route == stage.ROUTE.name, "warnings": []}
    said = _said(wanted, bench, around) if disk.backend.access.stage else None
    found: dict[str, Any] = {}
    if said:
        found.update(etag=said.etag, last_modified=said.last_modified)
    if not around["staged"]:
        with bench.storage(disk) as storage:
            return {**look_inside(wanted, storage), **found, "around": around}
    found.update(staged=os.path.exists(stage.copy_of(disk)), stale=False)
    if found["staged"]:
        found["stale"] = said is not None and "sha256" not in disk.source and image_cache.is_stale(disk, said)
        with bench.storage(disk) as storage:
            return {**look_inside(wanted, storage), **found, "around": around}
    return {**_look_before(wanted, said or web_image.Said(), bench), **found, "around": around}


def _said(wanted: Wanted, bench: Workbench, around: dict[str, Any]) -> web_image.Said | None:
    """What the server says; with a copy at hand it may stay away."""
    disk = wanted.disk
    try:
        said = web_image.ask(
            disk, FolderWiring(bench.folder, disk.name), seconds=bench.open_timeout, begin=_begin(disk, bench)
        )
    except HostError as error:
        if not around["staged"] or not os.path.exists(stage.copy_of(disk)):
            raise
        around["warnings"].append(f"{explained(disk, error)}; its copy on this host was looked at alone")
        return None
    _check_said(wanted, said)
    return said


def _begin(disk: Disk, bench: Workbench) -> list[str]:
    return bench.confined(confinement(stage.followed(disk, disk.backend.access.reach(disk.source))))


def _check_said(wanted: Wanted, said: web_image.Said) -> None:
    if said.place not in stage.places_of(wanted.disk):
        raise HostError(image_fetch.sent_on(said.place))
    for option, found in (("etag", said.etag), ("last_modified", said.last_modified)):
        wish = wanted.provision.get(option, found)
        if wish != found:
            raise HostError(
                f"the server has another image: its {option} is {found or 'not said'}, and {wish} is declared"
            )


def _look_before(wanted: Wanted, said: web_image.Said, bench: Workbench) -> dict[str, Any]:
    """What will be in the copy: of a raw image the server has said how long it is."""
    disk = wanted.disk
    head = said.head or web_image.read_head(
        disk, FolderWiring(bench.folder, disk.name), seconds=bench.open_timeout, begin=_begin(disk, bench)
    )
    found = describe_header(disk, read_header(head), said.length)
    return {"exists": True, **size_problem(wanted, found["size"]), **found}


def plan(wanted: Wanted, seen: Seen) -> Proposal:
    disk = wanted.disk
    if wanted.state == "absent":
        if not seen["staged"]:
            return Proposal(seen)
        plans.refuse_in_use(wanted, seen, "forgotten")
        return Proposal(
            {**seen, "exists": False, "staged": False}, (Step("forget", f"remove the copy of {disk.described}"),)
        )
    around = seen["around"]
    warnings = list(around["warnings"])
    if "problem" in seen:
        raise DeclarationError("", f"{seen['problem']}; correct the declaration, or find out who changed the image")
    refresh = wanted.provision.get("refresh", False)
    if around["staged"] and seen["stale"] and not refresh:
        warnings.append(
            f"{disk.described}: the server has another image than this host's copy; refresh: true fetches it"
        )
    if not around["staged"] or (seen["staged"] and not (seen["stale"] and refresh)):
        return Proposal(seen, warnings=tuple(warnings))
    verb = "again " if seen["staged"] else ""
    step = Step("fetch", f"fetch {disk.described} {verb}into this host's cache")
    return Proposal({**seen, "staged": True, "stale": False}, (step,), tuple(warnings))


def fetch(wanted: Wanted, values: Values, bench: Workbench) -> None:
    del values
    with image_cache.replaced(wanted.disk):
        image_cache.fetch(wanted.disk, bench)
        verify(wanted, bench, "nothing was kept")


def forget(wanted: Wanted, values: Values, bench: Workbench) -> None:
    del values, bench
    image_cache.forget(wanted.disk)


VERBS = {"fetch": fetch, "forget": forget}
