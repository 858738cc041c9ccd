# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Work on the parts of a long list in several processes."""

from __future__ import annotations

import gc
import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any, Callable, TypeVar

_LARGEST = 125
_MOST_PROCESSES = 8

Item = TypeVar("Item")
Result = TypeVar("Result")
Work = Callable[[Sequence[Item]], Result]

_inherited: list[Work[Any, Any]] = []
"""The work of a child process, which need not be picklable: the child is a fork."""


def map_parts(work: Work[Item, Result], items: Sequence[Item]) -> Iterator[Result]:
    """Yield the results of the work on each part of the items, in their order; results must be picklable."""
    processes = min(os.cpu_count() or 1, _MOST_PROCESSES)
    # A few parts for each process, so that none waits long for the last one.
    size = min(_LARGEST, -(-len(items) // (4 * processes)) or 1)
    parts = [items[start : start + size] for start in range(0, len(items), size)]
    if processes == 1 or size < _LARGEST // 8:
        yield from map(work, parts)
        return
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(processes, context, initializer=_inherit, initargs=(work,)) as pool:
        yield from pool.map(_work_on, parts)


@contextmanager
def collection_paused() -> Iterator[None]:
    """Look for no garbage meanwhile. Also a decorator.

    For work on the declarations of all hosts in one of Ansible's workers, which ends with its task: nearly every object
    lives as long as the process, and to look through them again and again takes a fifth of its time.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _inherit(work: Work[Any, Any]) -> None:
    gc.disable()  # almost everything in a child lives until it ends
    _inherited.append(work)


def _work_on(part: Sequence[Any]) -> Any:
    return _inherited[-1](part)
