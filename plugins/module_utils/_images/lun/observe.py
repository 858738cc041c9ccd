# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looks at a LUN: what its target says of it, what stands on it, and what a guest would see. Nothing here writes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._access.file_kind import not_raw
from ansible_collections.directdisk.qemu.plugins.module_utils._access.image_header import read_header
from ansible_collections.directdisk.qemu.plugins.module_utils._access.nodes import OpenNode
from ansible_collections.directdisk.qemu.plugins.module_utils._access.workbench import Workbench
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.values import Values
from ansible_collections.directdisk.qemu.plugins.module_utils._clients.libiscsi import Session
from ansible_collections.directdisk.qemu.plugins.module_utils._clients.qmp import Monitor
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError, HostError
from ansible_collections.directdisk.qemu.plugins.module_utils._images.contract import Seen, Wanted
from ansible_collections.directdisk.qemu.plugins.module_utils._images.lun import session
from ansible_collections.directdisk.qemu.plugins.module_utils._images.lun.options import format_of, serves
from ansible_collections.directdisk.qemu.plugins.module_utils._images.lun.server.observe import (
    observe as observe_on_server,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._images.lun.session import at_portal
from ansible_collections.directdisk.qemu.plugins.module_utils._images.volume import blank, content
from ansible_collections.directdisk.qemu.plugins.module_utils._process.run import run


def observe(wanted: Wanted, bench: Workbench) -> Seen:
    if serves(wanted):
        return observe_on_server(wanted, bench)
    disk = wanted.disk
    lun = disk.source["lun"]
    with session.opening(disk, wanted.provision.get("portals", ()), bench) as (opened, portal):
        luns = session.luns_of(opened)
        seen: dict[str, Any] = {"exists": lun in luns, "portal": portal, "luns": luns}
        if lun not in luns:
            return seen
        seen.update(session.device_of(opened, lun))
        if seen["type"] != "disk":
            return {**seen, "size": None, "format": None}
        assert_expected(disk, wanted.provision.get("expect", {}), seen)
        samples = _look_at_bytes(wanted, opened, seen)
    if seen["content"] == content.BLANK and _is_written_to(wanted, seen) and blank.is_full(wanted):
        samples = _look_everywhere(wanted, bench, seen, samples)
    return {**seen, **_look_inside(wanted, bench, seen, samples)}


def assert_expected(disk: Disk, expect: Values, seen: Seen) -> None:
    """Refuse a LUN that is not the one that was meant. Pure."""
    size = seen["capacity"]
    if expect.get("size", size) != size:
        raise DeclarationError(disk.described, f"has {size} bytes, and exactly {expect['size']} are expected")
    if expect.get("minimum_size", size) > size:
        raise DeclarationError(disk.described, f"has {size} bytes, and at least {expect['minimum_size']} are expected")
    if expect.get("serial", seen["serial"]) != seen["serial"]:
        problem = f"has the serial number {seen['serial']!r}, and {expect['serial']!r} is expected"
        raise DeclarationError(disk.described, problem)


def _look_at_bytes(wanted: Wanted, opened: Session, seen: dict[str, Any]) -> dict[int, bytes]:
    """Adds to what was seen what is stored; returns the bytes that tell it."""
    lun = wanted.disk.source["lun"]
    head = session.read_places(opened, lun, [(0, content.HEAD)], seen)
    found = read_header(head[0])
    told = format_of(wanted.disk) == ("raw", False)
    if told:
        seen["_not_raw"] = not_raw(wanted.disk.settings, head[0], written_by_guests=True)
    # A raw LUN is what it is declared to be, or it is refused: nothing is opened by what its first bytes look like.
    seen["format"] = "qcow2" if found.format == "qcow2" and not told else "raw"
    seen["encrypted"] = not told and (found.encrypted or found.format == "luks")
    fits = (seen["format"], seen["encrypted"]) == format_of(wanted.disk)
    quick = content.content_of(head) if fits and wanted.state != "info" and "overwrite" not in wanted.provision else ""
    if quick in (content.UNFINISHED, content.DATA) and not _wants_luks_content(wanted):
        seen["content"] = quick
        return head
    samples = session.read_places(opened, lun, content.sampled(seen["capacity"]), seen)
    seen["content"] = content.content_of(samples)
    fingerprint = content.fingerprint_of(samples)
    if seen["content"] == content.DATA and (wanted.state == "info" or not fits):
        seen["fingerprint"] = fingerprint
    if "overwrite" in wanted.provision:
        seen["_may_be_overwritten"] = fingerprint == wanted.provision["overwrite"]
    return samples


def _is_written_to(wanted: Wanted, seen: Seen) -> bool:
    """Tell if a LUN gets a format or an image, should it be blank."""
    return bool(wanted.disk.origin) or (seen["format"], seen["encrypted"]) != format_of(wanted.disk)


def _look_everywhere(
    wanted: Wanted, bench: Workbench, seen: dict[str, Any], samples: Mapping[int, bytes]
) -> dict[int, bytes]:
    """Look for data between the samples. What is found counts for the fingerprint, for zeroes would tell nothing."""
    with bench.storage(at_portal(wanted.disk, seen["portal"])) as storage:
        found = blank.first_data(storage)
        if found is None:
            return dict(samples)
        samples = {**samples, **blank.read_around(storage, found)}
    fingerprint = content.fingerprint_of(samples)
    seen.update(content=content.DATA, fingerprint=fingerprint, _data_at=found)
    seen["_may_be_overwritten"] = fingerprint == wanted.provision.get("overwrite")
    return dict(samples)


def _wants_luks_content(wanted: Wanted) -> bool:
    return _is_luks(wanted.disk) and bool(wanted.disk.origin)


def _look_inside(wanted: Wanted, bench: Workbench, seen: Seen, samples: Mapping[int, bytes]) -> dict[str, Any]:
    """What a guest would see, where the LUN has the declared format; and what is to be copied, where anything is."""
    if (seen["format"], seen["encrypted"]) != format_of(wanted.disk):
        inside: dict[str, Any] = {"size": seen["capacity"]}
    elif wanted.monitor:
        inside = _look_in_machine(wanted)
    elif format_of(wanted.disk) == ("raw", False):
        inside = {"size": seen["capacity"]}
    else:
        inside = _open(wanted, bench, seen, samples)
    state = inside.get("content", seen["content"])
    unlike = (seen["format"], seen["encrypted"]) != format_of(wanted.disk)
    fresh = unlike or state != content.DATA or seen.get("_may_be_overwritten")
    if wanted.disk.origin and fresh and wanted.state == "present" and not wanted.monitor:
        inside["_source_size"] = bench.size_of_source(wanted.disk.origin)
    return inside


def _open(wanted: Wanted, bench: Workbench, seen: Seen, samples: Mapping[int, bytes]) -> dict[str, Any]:
    disk = at_portal(wanted.disk, seen["portal"])
    with bench.storage(disk) as storage, storage.image() as node:
        described = node.describe()
        inside: dict[str, Any] = {"size": described["virtual-size"]}
        if wanted.disk.origin or wanted.state == "info":
            inside["content"] = _content_inside(disk, node, described, samples)
            if inside["content"] == content.BLANK and _is_luks(disk) and blank.is_full(wanted):
                header = described["format-specific"]["data"]["payload-offset"]
                inside["content"] = content.BLANK if blank.first_data(storage, header) is None else content.DATA
    return inside


def _is_luks(disk: Disk) -> bool:
    return format_of(disk) == ("raw", True)


def _content_inside(disk: Disk, node: OpenNode, described: Mapping[str, Any], samples: Mapping[int, bytes]) -> str:
    with node.accessed() as client:
        if client.read(0, content.HEAD).startswith(content.MARK):
            return content.UNFINISHED
    if disk.settings["format"] == "qcow2":
        with node.served(writable=False) as uri:
            blank = content.all_zero(json.loads(_extents(uri)))
    else:
        # What was never written decrypts to noise; as it is stored, it is zeroes.
        blank = content.is_blank(samples, described["format-specific"]["data"]["payload-offset"])
    return content.BLANK if blank else content.DATA


def _extents(uri: str) -> str:
    """Where anything is, as JSON."""
    return run(["qemu-img", "map", "--output=json", "-f", "raw", uri])


def _look_in_machine(wanted: Wanted) -> dict[str, Any]:
    """What the machine sees that has it open; another process could read half of what the machine writes."""
    where = f"{wanted.disk.described}: the machine behind {wanted.monitor}"
    try:
        with Monitor.connect(wanted.monitor) as monitor:
            nodes = monitor.execute("query-named-block-nodes", {"flat": True})
    except HostError as error:
        raise HostError(f"{where}: {error}; correct monitor, or leave it out if none runs") from None
    images = [node["image"] for node in nodes if node["node-name"] == wanted.node]
    if not images:
        raise HostError(f"{where} has no node {wanted.node}")
    declared = "luks" if format_of(wanted.disk) == ("raw", True) else wanted.disk.settings["format"]
    if images[0]["format"] != declared:
        problem = f"node {wanted.node} behind {wanted.monitor} is {images[0]['format']}, and {declared} is declared"
        raise DeclarationError(wanted.disk.described, problem)
    specific = images[0].get("format-specific", {}).get("data", {})
    return {"size": images[0]["virtual-size"], "_header": specific.get("payload-offset", 0)}
