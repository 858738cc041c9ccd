# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Observes a LUN: what it reports of itself, and what its bytes and a guest's view of it tell."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._access.file_kind import not_raw
from ansible_collections.directdisk.qemu.plugins.module_utils._access.image_header import read_header
from ansible_collections.directdisk.qemu.plugins.module_utils._access.nodes import OpenNode
from ansible_collections.directdisk.qemu.plugins.module_utils._access.qemu_img import output_of_qemu_img
from ansible_collections.directdisk.qemu.plugins.module_utils._access.workbench import Workbench
from ansible_collections.directdisk.qemu.plugins.module_utils._access.workspace import Workspace
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.values import Values
from ansible_collections.directdisk.qemu.plugins.module_utils._clients.libiscsi import Session
from ansible_collections.directdisk.qemu.plugins.module_utils._clients.qmp import Monitor
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError, HostError
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.contract import DesiredImage, ObservedImage
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.lun.observed import ObservedLun
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.lun.options import (
    at_portal,
    format_of,
    serves,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.volume import content
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.volume.blank_check import is_full
from ansible_collections.directdisk.qemu.plugins.module_utils._images.lun import session
from ansible_collections.directdisk.qemu.plugins.module_utils._images.lun.server import observe as server
from ansible_collections.directdisk.qemu.plugins.module_utils._images.sources import size_of_source
from ansible_collections.directdisk.qemu.plugins.module_utils._images.volume import blank
from ansible_collections.directdisk.qemu.plugins.module_utils._options.read import in_words
from ansible_collections.directdisk.qemu.plugins.module_utils._process.run import TooMuchOutputError

RAW = ("raw", False)
_LONGEST_MAP = 16 << 20
"""Bytes of a map of extents: some hundred thousand of them."""


def observe(desired: DesiredImage, bench: Workbench) -> ObservedImage:
    return server.observe(desired, bench) if serves(desired) else _observe_lun(desired, bench)


def _observe_lun(desired: DesiredImage, bench: Workbench) -> ObservedLun:
    disk = desired.disk
    lun = disk.source["lun"]
    with session.opening(disk, desired.provision.get("portals", ()), bench) as (opened, portal):
        luns = tuple(session.luns_of(opened))
        observed = ObservedLun(exists=lun in luns, portal=portal, luns=luns)
        if lun not in luns:
            return observed
        observed = replace(observed, device=session.device_of(opened, lun))
        if observed.device.type != "disk":
            return observed
        assert_expected(disk, desired.provision.get("expect", {}), observed)
        observed, samples = _observe_bytes(desired, opened, observed)
    if observed.content == content.BLANK and _is_written_to(desired, observed) and is_full(desired):
        observed, samples = _observe_everything(desired, bench, observed, samples)
    observed = _observe_guest_view(desired, bench, observed, samples)
    return replace(observed, source_size=_size_of_source(desired, bench, observed))


def assert_expected(disk: Disk, expect: Values, observed: ObservedLun) -> None:
    """Refuse a LUN that is not the expected one. Pure."""
    size, serial = observed.capacity, observed.device.serial
    exactly, least = expect.get("size", size), expect.get("minimum_size", size)
    if exactly != size:
        problem = f"has {in_words(size, exactly)}, and exactly {in_words(exactly, size)} are expected"
        raise DeclarationError(disk.described, problem)
    if least > size:
        problem = f"has {in_words(size, least)}, and at least {in_words(least, size)} are expected"
        raise DeclarationError(disk.described, problem)
    if expect.get("serial", serial) != serial:
        problem = f"has the serial number {serial!r}, and {expect['serial']!r} is expected"
        raise DeclarationError(disk.described, problem)


def _observe_bytes(
    desired: DesiredImage, opened: Session, observed: ObservedLun
) -> tuple[ObservedLun, dict[int, bytes]]:
    """Add the format and the kind of content; return the samples that tell it, too."""
    lun, declared = desired.disk.source["lun"], format_of(desired.disk)
    head = session.read_places(opened, lun, [(0, content.HEAD)], observed.device)
    header = read_header(head[0])
    # A raw LUN is not probed: its first bytes must not decide how it is opened. At most it is refused.
    raw = declared == RAW
    observed = replace(
        observed,
        not_raw=not_raw(desired.disk.settings, head[0], written_by_guests=True) if raw else "",
        format="qcow2" if header.format == "qcow2" and not raw else "raw",
        encrypted=not raw and (header.encrypted or header.format == "luks"),
    )
    fits = observed.bytes_format == declared
    confirmed = desired.provision.get("overwrite")
    quick = content.content_of(head) if fits and desired.state != "info" and confirmed is None else ""
    if quick in (content.UNFINISHED, content.DATA) and not _needs_luks_content(desired):
        return replace(observed, content=quick), head
    samples = session.read_places(opened, lun, content.sampled(observed.capacity), observed.device)
    state, fingerprint = content.content_of(samples), content.fingerprint_of(samples)
    is_reported = state == content.DATA and (desired.state == "info" or not fits)
    observed = replace(
        observed,
        content=state,
        fingerprint=fingerprint if is_reported else None,
        may_be_overwritten=fingerprint == confirmed,
    )
    return observed, samples


def _is_written_to(desired: DesiredImage, observed: ObservedLun) -> bool:
    """Tell if a blank LUN would get a format or an image."""
    return bool(desired.disk.origin) or observed.bytes_format != format_of(desired.disk)


def _observe_everything(
    desired: DesiredImage, bench: Workbench, observed: ObservedLun, samples: Mapping[int, bytes]
) -> tuple[ObservedLun, dict[int, bytes]]:
    """Read the whole LUN. Data that is found becomes a sample: the fingerprint of zeroes would confirm too much."""
    with bench.storage(at_portal(desired.disk, observed.portal)) as storage:
        data_at = blank.first_data(storage)
        if data_at is None:
            return observed, dict(samples)
        samples = {**samples, **blank.read_around(storage, data_at)}
    fingerprint = content.fingerprint_of(samples)
    observed = replace(
        observed,
        content=content.DATA,
        fingerprint=fingerprint,
        data_at=data_at,
        may_be_overwritten=fingerprint == desired.provision.get("overwrite"),
    )
    return observed, dict(samples)


def _needs_luks_content(desired: DesiredImage) -> bool:
    return _is_luks(desired.disk) and bool(desired.disk.origin)


def _observe_guest_view(
    desired: DesiredImage, bench: Workbench, observed: ObservedLun, samples: Mapping[int, bytes]
) -> ObservedLun:
    """Add the size that a guest sees; and, from inside a format, the kind of content."""
    declared = format_of(desired.disk)
    if observed.bytes_format == declared and desired.monitor:
        return _observe_in_vm(desired, observed)
    if observed.bytes_format != declared or declared == RAW:
        return replace(observed, size=observed.capacity)
    return _observe_inside(desired, bench, observed, samples)


def _size_of_source(desired: DesiredImage, bench: Workbench, observed: ObservedLun) -> int | None:
    """Return the source's size if it is to be imported."""
    differs = observed.bytes_format != format_of(desired.disk)
    is_fresh = differs or observed.content != content.DATA or observed.may_be_overwritten
    if desired.disk.origin and is_fresh and desired.state == "present" and not desired.monitor:
        return size_of_source(desired.disk.origin, bench)
    return None


def _observe_inside(
    desired: DesiredImage, bench: Workbench, observed: ObservedLun, samples: Mapping[int, bytes]
) -> ObservedLun:
    disk = at_portal(desired.disk, observed.portal)
    with bench.storage(disk) as storage, storage.image() as node:
        described = node.describe()
        observed = replace(observed, size=described["virtual-size"])
        if desired.disk.origin or desired.state == "info":
            state = _content_inside(disk, node, described, samples)
            if state == content.BLANK and _is_luks(disk) and is_full(desired):
                header = described["format-specific"]["data"]["payload-offset"]
                state = content.BLANK if blank.first_data(storage, header) is None else content.DATA
            observed = replace(observed, content=state)
    return observed


def _is_luks(disk: Disk) -> bool:
    return format_of(disk) == ("raw", True)


def _content_inside(disk: Disk, node: OpenNode, described: Mapping[str, Any], samples: Mapping[int, bytes]) -> str:
    with node.accessed() as client:
        if client.read(0, content.HEAD).startswith(content.MARK):
            return content.UNFINISHED
    if disk.settings["format"] == "qcow2":
        with node.served(writable=False) as uri:
            is_blank = _is_zero(uri, node.bench)
    else:
        # Blocks that were never written decrypt to noise; as they are stored, they are zeroes.
        is_blank = content.is_blank(samples, described["format-specific"]["data"]["payload-offset"])
    return content.BLANK if is_blank else content.DATA


def _is_zero(uri: str, bench: Workspace) -> bool:
    """Tell if all extents of an export read as zeroes. An export with very many of them counts as written."""
    try:
        extents = output_of_qemu_img(bench, "map", "--output=json", "-f", "raw", uri, most=_LONGEST_MAP)
    except TooMuchOutputError:
        return False
    return content.all_zero(json.loads(extents))


def _observe_in_vm(desired: DesiredImage, observed: ObservedLun) -> ObservedLun:
    """Ask the VM that has the LUN open: another process could read half of a write."""
    where = f"{desired.disk.described}: the VM behind {desired.monitor}"
    try:
        with Monitor.connect(desired.monitor) as monitor:
            nodes = monitor.execute("query-named-block-nodes", {"flat": True})
    except HostError as error:
        raise HostError(f"{where}: {error}; correct monitor, or leave it out if the VM does not run") from None
    images = [node["image"] for node in nodes if node["node-name"] == desired.node]
    if not images:
        raise HostError(f"{where} has no node {desired.node}")
    declared = "luks" if _is_luks(desired.disk) else desired.disk.settings["format"]
    if images[0]["format"] != declared:
        problem = f"node {desired.node} behind {desired.monitor} is {images[0]['format']}, and {declared} is declared"
        raise DeclarationError(desired.disk.described, problem)
    specific = images[0].get("format-specific", {}).get("data", {})
    return replace(observed, size=images[0]["virtual-size"], header=specific.get("payload-offset", 0))
