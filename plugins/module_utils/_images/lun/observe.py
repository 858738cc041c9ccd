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
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.contract import Values
from ansible_collections.directdisk.qemu.plugins.module_utils._clients.libiscsi import Session
from ansible_collections.directdisk.qemu.plugins.module_utils._clients.qmp import Monitor
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError, HostError
from ansible_collections.directdisk.qemu.plugins.module_utils._images.contract import DesiredImage, ObservedImage
from ansible_collections.directdisk.qemu.plugins.module_utils._images.lun import session
from ansible_collections.directdisk.qemu.plugins.module_utils._images.lun.options import format_of, serves
from ansible_collections.directdisk.qemu.plugins.module_utils._images.lun.server import observe as server
from ansible_collections.directdisk.qemu.plugins.module_utils._images.lun.session import at_portal
from ansible_collections.directdisk.qemu.plugins.module_utils._images.volume import blank, content
from ansible_collections.directdisk.qemu.plugins.module_utils._process.run import run


def observe(desired: DesiredImage, bench: Workbench) -> ObservedImage:
    if serves(desired):
        return server.observe(desired, bench)
    disk = desired.disk
    lun = disk.source["lun"]
    with session.opening(disk, desired.provision.get("portals", ()), bench) as (opened, portal):
        luns = session.luns_of(opened)
        observed: dict[str, Any] = {"exists": lun in luns, "portal": portal, "luns": luns}
        if lun not in luns:
            return observed
        observed.update(session.device_of(opened, lun))
        if observed["type"] != "disk":
            return {**observed, "size": None, "format": None}
        assert_expected(disk, desired.provision.get("expect", {}), observed)
        samples = _look_at_bytes(desired, opened, observed)
    if observed["content"] == content.BLANK and _is_written_to(desired, observed) and blank.is_full(desired):
        samples = _look_everywhere(desired, bench, observed, samples)
    return {**observed, **_look_inside(desired, bench, observed, samples)}


def assert_expected(disk: Disk, expect: Values, observed: ObservedImage) -> None:
    """Refuse a LUN that is not the one that was meant. Pure."""
    size = observed["capacity"]
    if expect.get("size", size) != size:
        raise DeclarationError(disk.described, f"has {size} bytes, and exactly {expect['size']} are expected")
    if expect.get("minimum_size", size) > size:
        raise DeclarationError(disk.described, f"has {size} bytes, and at least {expect['minimum_size']} are expected")
    if expect.get("serial", observed["serial"]) != observed["serial"]:
        problem = f"has the serial number {observed['serial']!r}, and {expect['serial']!r} is expected"
        raise DeclarationError(disk.described, problem)


def _look_at_bytes(desired: DesiredImage, opened: Session, observed: dict[str, Any]) -> dict[int, bytes]:
    """Adds to what was seen what is stored; returns the bytes that tell it."""
    lun = desired.disk.source["lun"]
    head = session.read_places(opened, lun, [(0, content.HEAD)], observed)
    found = read_header(head[0])
    told = format_of(desired.disk) == ("raw", False)
    if told:
        observed["_not_raw"] = not_raw(desired.disk.settings, head[0], written_by_guests=True)
    # A raw LUN is what it is declared to be, or it is refused: nothing is opened by what its first bytes look like.
    observed["format"] = "qcow2" if found.format == "qcow2" and not told else "raw"
    observed["encrypted"] = not told and (found.encrypted or found.format == "luks")
    fits = (observed["format"], observed["encrypted"]) == format_of(desired.disk)
    quick = (
        content.content_of(head) if fits and desired.state != "info" and "overwrite" not in desired.provision else ""
    )
    if quick in (content.UNFINISHED, content.DATA) and not _wants_luks_content(desired):
        observed["content"] = quick
        return head
    samples = session.read_places(opened, lun, content.sampled(observed["capacity"]), observed)
    observed["content"] = content.content_of(samples)
    fingerprint = content.fingerprint_of(samples)
    if observed["content"] == content.DATA and (desired.state == "info" or not fits):
        observed["fingerprint"] = fingerprint
    if "overwrite" in desired.provision:
        observed["_may_be_overwritten"] = fingerprint == desired.provision["overwrite"]
    return samples


def _is_written_to(desired: DesiredImage, observed: ObservedImage) -> bool:
    """Tell if a LUN gets a format or an image, should it be blank."""
    return bool(desired.disk.origin) or (observed["format"], observed["encrypted"]) != format_of(desired.disk)


def _look_everywhere(
    desired: DesiredImage, bench: Workbench, observed: dict[str, Any], samples: Mapping[int, bytes]
) -> dict[int, bytes]:
    """Look for data between the samples. What is found counts for the fingerprint, for zeroes would tell nothing."""
    with bench.storage(at_portal(desired.disk, observed["portal"])) as storage:
        found = blank.first_data(storage)
        if found is None:
            return dict(samples)
        samples = {**samples, **blank.read_around(storage, found)}
    fingerprint = content.fingerprint_of(samples)
    observed.update(content=content.DATA, fingerprint=fingerprint, _data_at=found)
    observed["_may_be_overwritten"] = fingerprint == desired.provision.get("overwrite")
    return dict(samples)


def _wants_luks_content(desired: DesiredImage) -> bool:
    return _is_luks(desired.disk) and bool(desired.disk.origin)


def _look_inside(
    desired: DesiredImage, bench: Workbench, observed: ObservedImage, samples: Mapping[int, bytes]
) -> dict[str, Any]:
    """What a guest would see, where the LUN has the declared format; and what is to be copied, where anything is."""
    if (observed["format"], observed["encrypted"]) != format_of(desired.disk):
        inside: dict[str, Any] = {"size": observed["capacity"]}
    elif desired.monitor:
        inside = _look_in_machine(desired)
    elif format_of(desired.disk) == ("raw", False):
        inside = {"size": observed["capacity"]}
    else:
        inside = _open(desired, bench, observed, samples)
    state = inside.get("content", observed["content"])
    unlike = (observed["format"], observed["encrypted"]) != format_of(desired.disk)
    fresh = unlike or state != content.DATA or observed.get("_may_be_overwritten")
    if desired.disk.origin and fresh and desired.state == "present" and not desired.monitor:
        inside["_source_size"] = bench.size_of_source(desired.disk.origin)
    return inside


def _open(
    desired: DesiredImage, bench: Workbench, observed: ObservedImage, samples: Mapping[int, bytes]
) -> dict[str, Any]:
    disk = at_portal(desired.disk, observed["portal"])
    with bench.storage(disk) as storage, storage.image() as node:
        described = node.describe()
        inside: dict[str, Any] = {"size": described["virtual-size"]}
        if desired.disk.origin or desired.state == "info":
            inside["content"] = _content_inside(disk, node, described, samples)
            if inside["content"] == content.BLANK and _is_luks(disk) and blank.is_full(desired):
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


def _look_in_machine(desired: DesiredImage) -> dict[str, Any]:
    """What the machine sees that has it open; another process could read half of what the machine writes."""
    where = f"{desired.disk.described}: the machine behind {desired.monitor}"
    try:
        with Monitor.connect(desired.monitor) as monitor:
            nodes = monitor.execute("query-named-block-nodes", {"flat": True})
    except HostError as error:
        raise HostError(f"{where}: {error}; correct monitor, or leave it out if none runs") from None
    images = [node["image"] for node in nodes if node["node-name"] == desired.node]
    if not images:
        raise HostError(f"{where} has no node {desired.node}")
    declared = "luks" if format_of(desired.disk) == ("raw", True) else desired.disk.settings["format"]
    if images[0]["format"] != declared:
        problem = f"node {desired.node} behind {desired.monitor} is {images[0]['format']}, and {declared} is declared"
        raise DeclarationError(desired.disk.described, problem)
    specific = images[0].get("format-specific", {}).get("data", {})
    return {"size": images[0]["virtual-size"], "_header": specific.get("payload-offset", 0)}
