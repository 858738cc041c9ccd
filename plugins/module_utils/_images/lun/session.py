# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looks at LUNs and at the bytes on them, through sessions of this process's own; nothing here writes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._access.workspace import Workspace
from ansible_collections.directdisk.qemu.plugins.module_utils._backends import iscsi, uris
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.contract import Values
from ansible_collections.directdisk.qemu.plugins.module_utils._clients import scsi
from ansible_collections.directdisk.qemu.plugins.module_utils._clients.libiscsi import (
    IscsiError,
    LibraryMissing,
    Login,
    SenseError,
    Session,
    load_library,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.explain import explained, find_hint
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError, StorageError

PACKAGES = {
    "debian": ("qemu-block-extra",),
    "redhat": ("libiscsi",),
    "fedora": ("libiscsi",),
    "suse": ("qemu-block-iscsi",),
    "arch": ("libiscsi",),
}
"""With which a host has the library, by OS family; where its own package's name changes, the one that needs it."""

_PIECE = 128 << 10
"""Bytes of one read: no target takes less."""


@contextlib.contextmanager
def opening(disk: Disk, portals: Iterable[str], bench: Workspace) -> Iterator[tuple[Session, str]]:
    """A session with the disk's target through the first portal that lets this host in, and that portal."""
    with contextlib.ExitStack() as stack:
        failures = []
        for portal in (disk.source["portal"], *portals):
            here = replace(disk, source={**disk.source, "portal": portal})
            try:
                opened = stack.enter_context(_session(here.source, bench))
            except IscsiError as error:
                failures.append(str(explained(here, error)))
                continue
            try:
                yield opened, iscsi.portal_of(here.source)
            except (IscsiError, SenseError) as error:
                raise explained(here, error) from None
            return
        raise StorageError("; ".join(failures))


def login_of(values: Values) -> Login:
    """The login that QEMU would begin for these options."""
    host, port = uris.place_of(values["portal"], iscsi.DEFAULT_PORT)
    return Login(
        host,
        port,
        values.get("target", ""),
        values.get("user", ""),
        values.get("password", ""),
        values.get("initiator_name", iscsi.DEFAULT_INITIATOR),
        iscsi.DIGESTS[values.get("header_digest", iscsi.DEFAULT_HEADER_DIGEST)],
        iscsi.TRANSPORTS[values["transport"]],
    )


def _session(values: Values, bench: Workspace) -> Session:
    try:
        library = load_library()
    except LibraryMissing as error:
        packages = " ".join(PACKAGES.get(bench.capabilities.family, ()))
        advice = f"; install {packages} (role storage_client)" if packages else ""
        raise HostError(f"{error}{advice}") from None
    return Session(library, login_of(values), seconds=bench.open_timeout)


def luns_of(opened: Session) -> list[int]:
    return scsi.luns_of(opened.ask(0, scsi.report_luns()))


def device_of(opened: Session, lun: int) -> dict[str, Any]:
    """What a LUN says of itself; beside its type, vendor and model only a disk has more to say."""
    found = scsi.device_of(opened.ask(lun, scsi.inquiry()))
    if found.get("type") != "disk":
        return found
    opened.ask(lun, scsi.test_unit_ready())
    capacity = scsi.capacity_of(opened.ask(lun, scsi.read_capacity()))
    found.update(capacity)
    found["serial"] = scsi.serial_of(_page(opened, lun, scsi.SERIAL_PAGE))
    found["device_id"] = scsi.identity_of(_page(opened, lun, scsi.IDENTITY_PAGE))
    found.update(scsi.provisioning_of(_page(opened, lun, scsi.PROVISIONING_PAGE)))
    found.update(scsi.limits_of(_page(opened, lun, scsi.LIMITS_PAGE), capacity["block_size"]))
    found["read_only"] = _is_read_only(opened, lun)
    return found


def _page(opened: Session, lun: int, page: int) -> bytes:
    """A page of vital product data; an empty one where the device has none."""
    try:
        return opened.ask(lun, scsi.inquiry(page))
    except SenseError:
        return bytes(4)


def _is_read_only(opened: Session, lun: int) -> bool:
    try:
        return scsi.write_protected(opened.ask(lun, scsi.mode_sense()))
    except SenseError:
        return False


def read_places(
    opened: Session, lun: int, places: Iterable[tuple[int, int]], device: Mapping[str, Any]
) -> dict[int, bytes]:
    """What stands at some places of a LUN, each a start and a length."""
    return {start: _read(opened, lun, start, length, device["block_size"]) for start, length in places}


def _read(opened: Session, lun: int, start: int, length: int, block_size: int) -> bytes:
    """Whole blocks are read, and cut to what was asked for."""
    first, after = start // block_size, -(-(start + length) // block_size)
    most = max(_PIECE // block_size, 1)
    pieces = [
        opened.ask(lun, scsi.read(block, min(most, after - block), block_size)) for block in range(first, after, most)
    ]
    skipped = start - first * block_size
    return b"".join(pieces)[skipped : skipped + length]


def discover(values: Values, bench: Workspace) -> dict[str, Any]:
    """The targets of a portal with their LUNs; a target that refuses this account says why."""
    try:
        with _session(values, bench) as opened:
            found = opened.targets()
    except IscsiError as error:
        raise StorageError(f"iscsi {iscsi.portal_of(values)}: {_meaning(error)}") from None
    targets = [{"target": name, "portals": portals, **_luns(values, name, bench)} for name, portals in found.items()]
    portal = iscsi.portal_of(values)
    return {"exists": False, "portal": portal, "targets": sorted(targets, key=lambda entry: str(entry["target"]))}


def _luns(values: Values, target: str, bench: Workspace) -> dict[str, Any]:
    try:
        with _session({**values, "target": target}, bench) as opened:
            return {"luns": [{"lun": lun, **device_of(opened, lun)} for lun in luns_of(opened)], "error": ""}
    except (IscsiError, SenseError) as error:
        return {"luns": [], "error": _meaning(error)}


def _meaning(error: HostError) -> str:
    hint = find_hint(iscsi.HINTS, str(error))
    return f"{hint.meaning}; {hint.advice} ({error})" if hint else str(error)


def at_portal(disk: Disk, portal: str) -> Disk:
    """The disk through the portal that was found to answer."""
    return replace(disk, source={**disk.source, "portal": portal})
