# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A few workers for many disks, each with a workbench of its own."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Callable, TypeVar

from ansible_collections.directdisk.qemu.plugins.module_utils._access.workbench import Workbench
from ansible_collections.directdisk.qemu.plugins.module_utils._process.resource_cache import ResourceCache
from ansible_collections.directdisk.qemu.plugins.module_utils._routes.capabilities import Capabilities

WORKERS = 4
"""Number of workers if none is declared."""
OPEN_TIMEOUT = 30
"""Seconds that a storage has to answer if none are declared."""

Item = TypeVar("Item")
Result = TypeVar("Result")


def at_workbenches(
    work: Callable[[Item, Workbench], Result],
    items: Iterable[Item],
    capabilities: Capabilities,
    *,
    open_timeout: float,
    workers: int = WORKERS,
) -> list[Result]:
    """Call a function for each item, several at the same time, and return the results in order."""
    own = threading.local()

    def at_own_bench(item: Item) -> Result:
        if not hasattr(own, "bench"):
            own.bench = benches.enter_context(Workbench(capabilities, open_timeout=open_timeout, shared=shared))
        return work(item, own.bench)

    # The processes of a thread end with it, so the threads must end last.
    with ThreadPoolExecutor(workers) as pool, ResourceCache() as shared, ExitStack() as benches:
        return list(pool.map(at_own_bench, items))
