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
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.contract import Values
from ansible_collections.directdisk.qemu.plugins.module_utils._clients.nbd import NbdClient
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.image_format import (
    check_format,
    found_format,
    has_format,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError
from ansible_collections.directdisk.qemu.plugins.module_utils._host.running import machines_that_open
from ansible_collections.directdisk.qemu.plugins.module_utils._images.contract import (
    DesiredImage,
    ImagePlan,
    ObservedImage,
    Step,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._images.image import plan as plans
from ansible_collections.directdisk.qemu.plugins.module_utils._images.image.verify import observe_content, verify
from ansible_collections.directdisk.qemu.plugins.module_utils._images.volume import apply as fixed
from ansible_collections.directdisk.qemu.plugins.module_utils._images.volume import blank, content
from ansible_collections.directdisk.qemu.plugins.module_utils._options.read import in_words

_OF_FILES = ("cluster_size", "lazy_refcounts", "backing")


def check(desired: DesiredImage) -> None:
    disk = desired.disk
    if desired.state == "absent":
        raise DeclarationError("state", f"absent: a {disk.backend.name} disk is its server's to remove, not ours")
    check_format(disk, desired.provision, ("off",))
    for option in _OF_FILES:
        if option in desired.provision:
            raise DeclarationError(option, f"is for images that are files, not for {disk.backend.name}")


def look(desired: DesiredImage, bench: Workbench) -> ObservedImage:
    disk = desired.disk
    opened = machines_that_open(disk.identity)
    around: dict[str, Any] = {"in_use": _used_by_host(disk.backend.reach(disk.source).devices)}
    with bench.storage(disk) as storage:
        found = {**observe_content(desired, storage, in_use=bool(opened)), "opened_by": opened}
        around["capacity"] = storage.describe()["virtual-size"]
        if "problem" in found or not has_format(disk):
            found["content"] = _content(desired, storage, around)
        elif disk.origin:
            with storage.image() as image:
                found["content"] = _content(desired, image, around)
        else:
            found["content"] = content.DATA
    if "problem" in found and found["content"] != content.DATA:
        del found["problem"]
        around["to_be_formatted"] = has_format(disk)
    if disk.origin and desired.state == "present" and ("problem" in found or found["content"] != content.DATA):
        around["source_size"] = bench.size_of_source(disk.origin)
    return {**found, "around": around}


def _content(desired: DesiredImage, node: OpenNode, around: dict[str, Any]) -> str:
    with node.accessed() as client:
        found = content.content_of(_samples(client, content.sampled(client.size)))
    is_written_to = bool(has_format(desired.disk) or desired.disk.origin)
    if found != content.BLANK or not is_written_to or not blank.is_full(desired):
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


def plan(desired: DesiredImage, observed: ObservedImage) -> ImagePlan:
    formats = bool(observed["around"].get("to_be_formatted"))
    if "problem" in observed:
        plans.refuse_problem(desired, observed)
        formats = has_format(desired.disk)
    imports = bool(desired.disk.origin) and (formats or "problem" in observed or observed["content"] != content.DATA)
    if not formats and not imports:
        return replace(plans.plan_size(desired, observed), warnings=_hidden_data(desired, observed))
    if observed["around"]["in_use"]:
        raise DeclarationError("", f"this host itself uses {observed['around']['in_use']}: it is not written to")
    plans.refuse_in_use(desired, observed, "written to")
    return _plan_writing(desired, observed, formats=formats, imports=imports)


def _hidden_data(desired: DesiredImage, observed: ObservedImage) -> tuple[str, ...]:
    """Say why a source was not written to a disk that looks blank at its ends."""
    found = observed["around"].get("data_at")
    return () if found is None else (content.hidden(desired.disk.described, found),)


def _plan_writing(desired: DesiredImage, observed: ObservedImage, *, formats: bool, imports: bool) -> ImagePlan:
    disk, around = desired.disk, observed["around"]
    steps = []
    size = _size_of_format(desired, observed) if formats else observed["size"]
    if imports and around["source_size"] > size:
        raise DeclarationError("source", f"has {around['source_size']} bytes, more than the {size} that there are")
    wipe = content.wiped(around["capacity"])
    destroys = "problem" in observed
    if formats:
        words = (
            f"write {'luks' if disk.settings['format'] == 'raw' else 'qcow2'} of {in_words(size)} on {disk.described}"
        )
        steps.append(Step("format", words, {"size": size, "wipe": wipe}, destroys=destroys))
    if imports and disk.origin:
        again = "once more " if observed["content"] == content.UNFINISHED else ""
        words = f"copy {disk.origin.described} {again}to {disk.described}"
        values = {"size": around["source_size"], "wipe": [] if formats or has_format(disk) else wipe}
        steps.append(Step("import", words, values, destroys=destroys and not formats))
    found = found_format(disk, desired.provision, size)
    after = {"exists": True, **found, "opened_by": observed["opened_by"], "content": content.DATA}
    return ImagePlan(after, tuple(steps))


def _size_of_format(desired: DesiredImage, observed: ObservedImage) -> int:
    capacity = int(observed["around"]["capacity"])
    if desired.disk.settings["format"] == "raw":
        return capacity - content.LUKS_HEADER
    size = desired.size or observed["around"].get("source_size")
    if size is None:
        raise DeclarationError("size", "is missing, and there is no qcow2 yet")
    needed = content.needed_for_qcow2(size, encrypted="luks" in desired.disk.settings)
    if needed > capacity:
        raise DeclarationError("size", f"a qcow2 of {size} bytes takes up to {needed}, and there are {capacity}")
    return int(size)


def write_format(desired: DesiredImage, values: Values, bench: Workbench) -> None:
    fixed.write_format(desired.disk, values, bench)


def import_source(desired: DesiredImage, values: Values, bench: Workbench) -> None:
    fixed.import_source(desired.disk, values, bench)
    verify(desired, bench, "what was copied is there")


ACTIONS = {"format": write_format, "import": import_source}
