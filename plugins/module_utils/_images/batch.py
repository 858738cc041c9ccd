# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many disks in one run: a few workers, each at a workbench of its own, and a result for every disk."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._access.workbench import Workbench
from ansible_collections.directdisk.qemu.plugins.module_utils._access.workers import (
    OPEN_TIMEOUT,
    WORKERS,
    at_workbenches,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.contract import Backend
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import (
    CapabilityError,
    Collected,
    DeclarationError,
    DirectDiskError,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._host.bindings import need_bindings
from ansible_collections.directdisk.qemu.plugins.module_utils._host.storage_users import StorageUsers
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.entries import Entry, Named, about
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.info_entries import ListedServer
from ansible_collections.directdisk.qemu.plugins.module_utils._images.module import shown_changes
from ansible_collections.directdisk.qemu.plugins.module_utils._images.reconcile import ImageResult, discover, reconcile
from ansible_collections.directdisk.qemu.plugins.module_utils._images.registry import LIFECYCLES
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.disk_requests import Diff, DiskResult, DisksAnswer
from ansible_collections.directdisk.qemu.plugins.module_utils._process import privileges, requester
from ansible_collections.directdisk.qemu.plugins.module_utils._process.locks import lock_of
from ansible_collections.directdisk.qemu.plugins.module_utils._process.progress import ProgressBoard
from ansible_collections.directdisk.qemu.plugins.module_utils._routes.capabilities import Capabilities


class ReconciledDisk(DiskResult, total=False):
    """The result of one disk with what its diff and its warnings are made of."""

    before: Mapping[str, Any]
    after: Mapping[str, Any]
    warnings: list[str]


def reconcile_all(
    entries: Sequence[Entry],
    capabilities: Capabilities,
    *,
    check_mode: bool,
    workers: int = WORKERS,
    open_timeout: float = OPEN_TIMEOUT,
    lacking: Mapping[str, DirectDiskError],
    board: ProgressBoard | None = None,
    users: StorageUsers | None = None,
) -> list[ReconciledDisk]:
    """Bring all disks to their desired state; one that fails does not stop the others.

    lacking: why this host cannot manage the images of a backend, by the backend's name; board: of this run; users: of
    the observation that this is a part of, if nothing is changed.
    """
    board = board or ProgressBoard()
    # A change is decided by what is so at that moment; for a prediction, all units are read once and not for each disk.
    users = StorageUsers() if check_mode and users is None else users
    # Two disks may be one image, whose copy only one worker may fetch.
    locks = {entry.desired.disk.identity: threading.Lock() for entry in entries}

    def work(entry: Entry, bench: Workbench) -> ReconciledDisk:
        reason = lacking.get(entry.desired.disk.backend.name)
        if reason:
            return _failed(entry, entry.error_lines(reason), refused=True)
        disk, bench.users = entry.desired.disk, users
        with locks[disk.identity], board.disk(entry.name, lock_of(disk)) as bench.progress:
            return _reconcile_one(entry, bench, check_mode=check_mode)

    return at_workbenches(work, entries, capabilities, open_timeout=open_timeout, workers=workers)


def inform_about(
    entries: Sequence[Entry | ListedServer],
    capabilities: Capabilities,
    *,
    workers: int,
    open_timeout: float,
    lacking: Mapping[str, DirectDiskError],
) -> list[ReconciledDisk]:
    """Read all disks and servers; one that fails does not stop the others."""
    users = StorageUsers()

    def work(entry: Entry | ListedServer, bench: Workbench) -> ReconciledDisk:
        reason = lacking.get(backend_of(entry).name)
        if reason:
            return _failed(entry, entry.error_lines(reason), refused=True)
        if isinstance(entry, ListedServer):
            return _result_of(entry, partial(discover, LIFECYCLES[entry.backend.image_kind], entry.place, bench))
        bench.users = users
        return _reconcile_one(entry, bench, check_mode=True)

    return at_workbenches(work, entries, capabilities, open_timeout=open_timeout, workers=workers)


def backend_of(entry: Entry | ListedServer) -> Backend:
    return entry.backend if isinstance(entry, ListedServer) else entry.desired.disk.backend


def _reconcile_one(entry: Entry, bench: Workbench, *, check_mode: bool) -> ReconciledDisk:
    lifecycle = LIFECYCLES[entry.desired.kind.name]

    def work() -> ImageResult:
        # What has begun is brought to its end, but nothing begins for a controller that is gone.
        requester.await_controller(within=requester.RECENT)
        return reconcile(lifecycle, entry.desired, bench, check_mode=check_mode)

    return _result_of(entry, work)


def _result_of(entry: Named, work: Callable[[], ImageResult]) -> ReconciledDisk:
    """Return the result of one disk, or its failure."""
    try:
        done = work()
    except PermissionError as error:
        if not privileges.is_root():
            line = f"{error.filename}: needs root on the host: set become: true"
            return _failed(entry, [about(entry.name, line)], refused=False)
        return _unexpected(entry, error)
    except DirectDiskError as error:
        refused = isinstance(error, (DeclarationError, Collected))
        return _failed(entry, entry.error_lines(error), refused=refused)
    except Exception as error:  # what nobody thought of must not cost the results of the other disks
        return _unexpected(entry, error)
    return {
        "name": entry.name,
        "changed": done["changed"],
        "actions": done["actions"],
        "warnings": done["warnings"],
        "before": done["before"],
        "after": done["after"],
        "state": done["state"],
        "size": done["size"],
        "format": done["format"],
        "blockdev": done["blockdev"],
    }


def _unexpected(entry: Named, error: Exception) -> ReconciledDisk:
    message = about(entry.name, f"{type(error).__name__}: {error}")
    return {**_failed(entry, [message], refused=False), "exception": traceback.format_exc()}


def _failed(entry: Named, lines: Iterable[str], *, refused: bool) -> ReconciledDisk:
    """Return the result of a disk that failed; refused: the declaration cannot be applied here."""
    return {"name": entry.name, "changed": False, "failed": True, "refused": refused, "msg": "\n".join(lines)}


def answer_of(results: Iterable[ReconciledDisk]) -> DisksAnswer:
    """Return the result of qemu_disks; the caller emits its ``warnings``."""
    disks: list[DiskResult] = []
    diff: list[Diff] = []
    warnings: list[str] = []
    for result in results:
        before, after = result.pop("before", {}), result.pop("after", {})
        warnings += [f"disk {result['name']}: {warning}" for warning in result.pop("warnings", ())]
        if result["changed"]:
            diff.append(shown_changes(result["name"], result["actions"], before, after))
        if not result.get("failed"):
            result["image"] = after
        disks.append(result)
    return {"disks": disks, "diff": diff, "warnings": warnings}


def information_of(results: Iterable[ReconciledDisk]) -> tuple[list[dict[str, object]], list[str]]:
    """Return the disks of the result of qemu_disks_info, and its warnings."""
    done = answer_of(results)
    changes = ("changed", "actions", "refused")
    disks = [{key: value for key, value in disk.items() if key not in changes} for disk in done["disks"]]
    return disks, done["warnings"]


def failure_of(disks: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return the messages of the disks that failed, as members of the result of a module; none if no disk failed."""
    failed = [disk for disk in disks if disk.get("failed")]
    if not failed:
        return {}
    unexpected = "\n".join(disk["exception"] for disk in failed if "exception" in disk)
    more = {"exception": unexpected} if unexpected else {}
    return {"msg": "\n".join(disk["msg"] for disk in failed), **more}


def lacking_bindings(entries: Sequence[Entry | ListedServer], capabilities: Capabilities) -> dict[str, DirectDiskError]:
    """Return why this host cannot manage the images of a backend, by its name; may restart the module elsewhere."""
    reasons: dict[str, DirectDiskError] = {}
    for backend in {backend_of(entry).name: backend_of(entry) for entry in entries}.values():
        try:
            need_bindings([backend], capabilities.family)
        except CapabilityError as error:
            reasons[backend.name] = error
    return reasons
