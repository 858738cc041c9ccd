# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads LUNs and their bytes through iSCSI sessions without the host's initiator; nothing here writes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from ansible_collections.directdisk.qemu.plugins.module_utils._access.confinement import confinement
from ansible_collections.directdisk.qemu.plugins.module_utils._access.workspace import Workspace
from ansible_collections.directdisk.qemu.plugins.module_utils._backends import iscsi, uris
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.values import Values
from ansible_collections.directdisk.qemu.plugins.module_utils._clients import scsi
from ansible_collections.directdisk.qemu.plugins.module_utils._clients.libiscsi import (
    IscsiError,
    LibraryMissing,
    Login,
    SenseError,
    Session,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.explain import explained, find_hint
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError, StorageError
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.lun import options
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.lun.observed import (
    Device,
    ListedLun,
    ListedTarget,
    ObservedPortal,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._process import privileges
from ansible_collections.directdisk.qemu.plugins.module_utils._process.run import END_WITH_PARENT

_BLOCK_SIZES = [1 << power for power in range(9, 17)]
"""Bytes of a block that a LUN may have. A read is at least one block, so that another size would take any memory."""
_PIECE = 128 << 10
"""Bytes of one read; every target accepts that many."""


@contextlib.contextmanager
def opening(disk: Disk, portals: Iterable[str], bench: Workspace) -> Iterator[tuple[Session, str]]:
    """Open a session with the disk's target through the first portal that lets this host in; yields both."""
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
    """Return the login that QEMU makes with these options."""
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
        return Session(_confined(values, bench), login_of(values), seconds=bench.open_timeout)
    except LibraryMissing as error:
        packages = " ".join(options.PACKAGES.get(bench.capabilities.family, ()))
        advice = f"; install {packages} (role storage_client)" if packages else ""
        raise HostError(f"{error}{advice}") from None


def _confined(values: Values, bench: Workspace) -> Sequence[str]:
    """Return the beginning of the command that has a session; only root can confine a process."""
    reach = iscsi.BACKEND.access.reach(values)
    # A confined process has no devices, and iSER needs those of the network card.
    if reach.devices or not privileges.is_root():
        return END_WITH_PARENT
    return bench.confined(confinement(reach))


def luns_of(opened: Session) -> list[int]:
    return scsi.luns_of(opened.ask(0, scsi.report_luns()))


def device_of(opened: Session, lun: int) -> Device:
    """Ask a LUN for its type, vendor and model, and a disk for all else."""
    answers = scsi.device_of(opened.ask(lun, scsi.inquiry()))
    if answers is None:
        return Device()
    if answers["type"] != "disk":
        return Device(**answers)
    opened.ask(lun, scsi.test_unit_ready())
    capacity = scsi.capacity_of(opened.ask(lun, scsi.read_capacity()))
    if capacity["block_size"] not in _BLOCK_SIZES:
        raise IscsiError(f"LUN {lun} says that it has blocks of {capacity['block_size']} bytes")
    return Device(
        **answers,
        **capacity,
        **scsi.provisioning_of(_page(opened, lun, scsi.PROVISIONING_PAGE)),
        **scsi.limits_of(_page(opened, lun, scsi.LIMITS_PAGE), capacity["block_size"]),
        serial=scsi.serial_of(_page(opened, lun, scsi.SERIAL_PAGE)),
        device_id=scsi.identity_of(_page(opened, lun, scsi.IDENTITY_PAGE)),
        read_only=_is_read_only(opened, lun),
    )


def _page(opened: Session, lun: int, page: int) -> bytes:
    """Return a page of vital product data; an empty one if the device has none."""
    try:
        return opened.ask(lun, scsi.inquiry(page))
    except SenseError:
        return bytes(4)


def _is_read_only(opened: Session, lun: int) -> bool:
    try:
        return scsi.write_protected(opened.ask(lun, scsi.mode_sense()))
    except SenseError:
        return False


def read_places(opened: Session, lun: int, places: Iterable[tuple[int, int]], device: Device) -> dict[int, bytes]:
    """Read places of a LUN, each a start and a length."""
    block_size = device.block_size or 1
    return {start: _read(opened, lun, start, length, block_size) for start, length in places}


def _read(opened: Session, lun: int, start: int, length: int, block_size: int) -> bytes:
    """Read whole blocks, and cut them to the place."""
    first, after = start // block_size, -(-(start + length) // block_size)
    most = max(_PIECE // block_size, 1)
    pieces = [
        opened.ask(lun, scsi.read(block, min(most, after - block), block_size)) for block in range(first, after, most)
    ]
    skipped = start - first * block_size
    return b"".join(pieces)[skipped : skipped + length]


def discover(values: Values, bench: Workspace) -> ObservedPortal:
    """List the targets of a portal with their LUNs; a target that refuses this account has its error."""
    portal = iscsi.portal_of(values)
    try:
        with _session(values, bench) as opened:
            portals_of = opened.targets()
    except IscsiError as error:
        raise StorageError(f"iscsi {portal}: {_meaning(error)}") from None
    targets = [_list_luns(values, name, tuple(portals), bench) for name, portals in sorted(portals_of.items())]
    return ObservedPortal(exists=False, portal=portal, targets=tuple(targets))


def _list_luns(values: Values, target: str, portals: tuple[str, ...], bench: Workspace) -> ListedTarget:
    try:
        with _session({**values, "target": target}, bench) as opened:
            luns = tuple(ListedLun(lun, device_of(opened, lun)) for lun in luns_of(opened))
            return ListedTarget(target, portals, luns, "")
    except (IscsiError, SenseError) as error:
        return ListedTarget(target, portals, (), _meaning(error))


def _meaning(error: HostError) -> str:
    hint = find_hint(iscsi.HINTS, str(error))
    return f"{hint.meaning}; {hint.advice} ({error})" if hint else str(error)
