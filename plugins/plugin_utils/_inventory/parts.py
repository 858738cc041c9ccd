# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Work on a long list by several processes, each of which forgets what it has read when it is done."""

from __future__ import annotations

import contextlib
import gc
import os
import pickle
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Callable, TypeVar

_LARGEST = 125
_MOST_PROCESSES = 8

Item = TypeVar("Item")
Result = TypeVar("Result")
Work = Callable[[Sequence[Item]], Result]


@dataclass(frozen=True)
class _Child:
    pid: int
    pipe: int


def in_parts(work: Work[Item, Result], items: Sequence[Item]) -> Iterator[Result]:
    """What the work makes of each part of the items, in their order; it must be possible to pickle that."""
    processes = min(os.cpu_count() or 1, _MOST_PROCESSES)
    # A few parts for each process, so that none waits long for the last one.
    size = min(_LARGEST, -(-len(items) // (4 * processes)) or 1)
    parts = [items[start : start + size] for start in range(0, len(items), size)]
    if processes == 1 or size < _LARGEST // 8:
        yield from (work(part) for part in parts)
        return
    ahead = iter(parts)
    running = deque(_start(work, part) for part in islice(ahead, processes))
    for part in parts:
        data = _finish(running.popleft())
        with contextlib.suppress(StopIteration):
            running.append(_start(work, next(ahead)))
        # What went wrong in a child shows when the work is done here.
        yield pickle.loads(data) if data else work(part)


def _start(work: Work[Item, Any], part: Sequence[Item]) -> _Child:
    reader, writer = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writer)
        return _Child(pid, reader)
    try:
        gc.disable()  # it would search for garbage in what lives until the end
        os.close(reader)
        with os.fdopen(writer, "wb") as stream:
            stream.write(pickle.dumps(work(part), pickle.HIGHEST_PROTOCOL))
    finally:
        os._exit(0)


def _finish(child: _Child) -> bytes:
    """What a child sent; nothing where it failed."""
    with os.fdopen(child.pipe, "rb") as stream:
        data = stream.read()
    os.waitpid(child.pid, 0)
    return data
