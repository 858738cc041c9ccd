# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many disks in one run: a few workers, each at a workbench of its own, and a result for every disk."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._access.workbench import Workbench
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import (
    Collected,
    DeclarationError,
    DirectDiskError,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.entries import Entry, about
from ansible_collections.directdisk.qemu.plugins.module_utils._images.reconcile import reconcile
from ansible_collections.directdisk.qemu.plugins.module_utils._images.registry import LIFECYCLES
from ansible_collections.directdisk.qemu.plugins.module_utils._process.resource_cache import ResourceCache
from ansible_collections.directdisk.qemu.plugins.module_utils._routes.capabilities import Capabilities


def reconcile_all(
    entries: Sequence[Entry],
    capabilities: Capabilities,
    *,
    workers: int,
    open_timeout: float,
    check_mode: bool,
    lacking: Mapping[str, DirectDiskError],
) -> list[dict[str, Any]]:
    """Bring all disks to their desired state; one that fails does not stop the others.

    lacking: why this host cannot manage the images of a backend, by the backend's name.
    """
    own = threading.local()
    # Two disks may be one image, whose copy only one worker may fetch.
    locks = {entry.desired.disk.identity: threading.Lock() for entry in entries}

    def work(entry: Entry) -> dict[str, Any]:
        reason = lacking.get(entry.desired.disk.backend.name)
        if reason:
            return _failed(entry, entry.error_lines(reason), refused=True)
        if not hasattr(own, "bench"):
            own.bench = benches.enter_context(Workbench(capabilities, open_timeout=open_timeout, shared=shared))
        with locks[entry.desired.disk.identity]:
            return _reconcile_one(entry, own.bench, check_mode=check_mode)

    # The processes of a thread end with it, so the threads must end last.
    with ThreadPoolExecutor(workers) as pool, ResourceCache() as shared, ExitStack() as benches:
        return list(pool.map(work, entries))


def _reconcile_one(entry: Entry, bench: Workbench, *, check_mode: bool) -> dict[str, Any]:
    try:
        done = reconcile(LIFECYCLES[entry.desired.kind.name], entry.desired, bench, check_mode=check_mode)
    except DirectDiskError as error:
        refused = isinstance(error, (DeclarationError, Collected))
        return _failed(entry, entry.error_lines(error), refused=refused)
    except Exception as error:  # what nobody thought of must not cost the results of the other disks
        message = about(entry.name, f"{type(error).__name__}: {error}")
        return {**_failed(entry, [message], refused=False), "exception": traceback.format_exc()}
    return {"name": entry.name, **done}


def _failed(entry: Entry, lines: Iterable[str], *, refused: bool) -> dict[str, Any]:
    """Return the result of a disk that failed; refused: the declaration cannot be applied here."""
    return {"name": entry.name, "changed": False, "failed": True, "refused": refused, "msg": "\n".join(lines)}
