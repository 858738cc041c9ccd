# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images on disks that are there already and have the size that they have: devices, exports, VDIs."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._access.nodes import OpenNode
from ansible_collections.directdisk.qemu.plugins.module_utils._access.workbench import Workbench
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.values import Values
from ansible_collections.directdisk.qemu.plugins.module_utils._clients.nbd import NbdClient
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.image_format import (
    check_format,
    found_format,
    has_format,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError
from ansible_collections.directdisk.qemu.plugins.module_utils._host.running import vms_that_open
from ansible_collections.directdisk.qemu.plugins.module_utils._images.contract import Proposal, Seen, Step, Wanted
from ansible_collections.directdisk.qemu.plugins.module_utils._images.image import plan as plans
from ansible_collections.directdisk.qemu.plugins.module_utils._images.image.verify import look_inside, verify
from ansible_collections.directdisk.qemu.plugins.module_utils._images.volume import apply as fixed
from ansible_collections.directdisk.qemu.plugins.module_utils._images.volume import blank, content
from ansible_collections.directdisk.qemu.plugins.module_utils._options.read import in_words

_OF_FILES = ("cluster_size", "lazy_refcounts", "backing")


def check(wanted: Wanted) -> None:
    disk = wanted.disk
    if wanted.state == "absent":
        raise DeclarationError("state", f"absent: a {disk.backend.name} disk is its server's to remove, not ours")
    check_format(disk, wanted.provision, ("off",))
    for option in _OF_FILES:
        if wanted.provision.get(option):
            raise DeclarationError(option, f"is for images that are files, not for {disk.backend.name}")


def look(wanted: Wanted, bench: Workbench) -> Seen:
    disk = wanted.disk
    opened = vms_that_open(disk.identity)
    around: dict[str, Any] = {"in_use": _used_by_host(disk.backend.access.reach(disk.source).devices)}
    with bench.storage(disk) as storage:
        found = {**look_inside(wanted, storage, in_use=bool(opened)), "opened_by": opened}
        around["capacity"] = storage.describe()["virtual-size"]
        if "problem" in found or not has_format(disk):
            found["content"] = _content(wanted, storage, around)
        elif disk.origin:
            with storage.image() as image:
                found["content"] = _content(wanted, image, around)
        else:
            found["content"] = content.DATA
    if "problem" in found and found["content"] != content.DATA:
        del found["problem"]
        around["to_be_formatted"] = has_format(disk)
    if disk.origin and wanted.state == "present" and ("problem" in found or found["content"] != content.DATA):
        around["source_size"] = bench.size_of_source(disk.origin)
    return {**found, "around": around}


def _content(wanted: Wanted, node: OpenNode, around: dict[str, Any]) -> str:
    with node.accessed() as client:
        found = content.content_of(_samples(client, content.sampled(client.size)))
    is_written_to = bool(has_format(wanted.disk) or wanted.disk.origin)
    if found != content.BLANK or not is_written_to or not blank.is_full(wanted):
        return found
    around["data_at"] = blank.first_data(node)
    return content.BLANK if around["data_at"] is None else content.DATA


def _samples(client: NbdClient, places: Iterable[tuple[int, int]]) -> dict[int, bytes]:
    return {start: client.read(start, length) for start, length in places}


def _used_by_host(devices: Iterable[str]) -> str:
    """The device that the host itself has mounted, or uses as a part of another."""
    for device in devices:
        try:
            os.close(os.open(device, os.O_RDONLY | os.O_EXCL | os.O_NONBLOCK))
        except OSError as error:
            if error.errno == errno.EBUSY:
                return device
    return ""


def plan(wanted: Wanted, seen: Seen) -> Proposal:
    formats = bool(seen["around"].get("to_be_formatted"))
    if "problem" in seen:
        plans.refuse_problem(wanted, seen)
        formats = has_format(wanted.disk)
    imports = bool(wanted.disk.origin) and (formats or "problem" in seen or seen["content"] != content.DATA)
    if not formats and not imports:
        return replace(plans.plan_size(wanted, seen), warnings=_hidden_data(wanted, seen))
    if seen["around"]["in_use"]:
        raise DeclarationError("", f"this host itself uses {seen['around']['in_use']}: it is not written to")
    plans.refuse_in_use(wanted, seen, "written to")
    return _plan_writing(wanted, seen, formats=formats, imports=imports)


def _hidden_data(wanted: Wanted, seen: Seen) -> tuple[str, ...]:
    """Say why a source was not written to a disk that looks blank at its ends."""
    found = seen["around"].get("data_at")
    return () if found is None else (content.hidden(wanted.disk.described, found),)


def _plan_writing(wanted: Wanted, seen: Seen, *, formats: bool, imports: bool) -> Proposal:
    disk, around = wanted.disk, seen["around"]
    steps = []
    size = _size_of_format(wanted, seen) if formats else seen["size"]
    if imports and around["source_size"] > size:
        raise DeclarationError("source", f"has {around['source_size']} bytes, more than the {size} that there are")
    wipe = content.wiped(around["capacity"])
    destroys = "problem" in seen
    if formats:
        words = (
            f"write {'luks' if disk.settings['format'] == 'raw' else 'qcow2'} of {in_words(size)} on {disk.described}"
        )
        steps.append(Step("format", words, {"size": size, "wipe": wipe}, destroys=destroys))
    if imports and disk.origin:
        again = "once more " if seen["content"] == content.UNFINISHED else ""
        words = f"copy {disk.origin.described} {again}to {disk.described}"
        values = {"size": around["source_size"], "wipe": [] if formats or has_format(disk) else wipe}
        steps.append(Step("import", words, values, destroys=destroys and not formats))
    found = found_format(disk, wanted.provision, size)
    after = {"exists": True, **found, "opened_by": seen["opened_by"], "content": content.DATA}
    return Proposal(after, tuple(steps))


def _size_of_format(wanted: Wanted, seen: Seen) -> int:
    capacity = int(seen["around"]["capacity"])
    if wanted.disk.settings["format"] == "raw":
        return capacity - content.LUKS_HEADER
    size = wanted.size or seen["around"].get("source_size")
    if size is None:
        raise DeclarationError("size", "is missing, and there is no qcow2 yet")
    needed = content.needed_for_qcow2(size, encrypted="luks" in wanted.disk.settings)
    if needed > capacity:
        raise DeclarationError("size", f"a qcow2 of {size} bytes takes up to {needed}, and there are {capacity}")
    return int(size)


def write_format(wanted: Wanted, values: Values, bench: Workbench) -> None:
    fixed.write_format(wanted.disk, values, bench)


def import_source(wanted: Wanted, values: Values, bench: Workbench) -> None:
    fixed.import_source(wanted.disk, values, bench)
    verify(wanted, bench, "what was copied is there")


VERBS = {"format": write_format, "import": import_source}
