# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Progress of the disks of one run: which step each is at, and how much of it is done."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Callable

from ansible_collections.directdisk.qemu.plugins.module_utils._plan.host_state import ProgressRow


class Step:
    """One step of a disk that takes long, such as a copy."""

    def __init__(self, words: str, total: int | None, done: Callable[[], int] | None = None) -> None:
        """total: bytes, if they are known; done: reads how many of them are done, for a step that cannot say it."""
        self.words = words
        self.done = 0
        self.total = total
        self._read = done
        self._start = time.monotonic()

    def follow(self, row: ProgressRow) -> None:
        """Show the progress of another process."""
        self.done, self.total = row["done"], row["total"]
        self._start = time.monotonic() - row["seconds"]

    def row(self, name: str, lock: int) -> ProgressRow:
        """Return the state of the step; name: of the disk; lock: the byte by which a run holds it."""
        if self._read:
            with contextlib.suppress(OSError):
                self.done = self._read()
        seconds = time.monotonic() - self._start
        rate = self.done / seconds if seconds > 0 else 0.0
        total = self.total if self.total and self.total >= self.done else None
        left = (total - self.done) / rate if total and rate else None
        return {
            "name": name,
            "step": self.words,
            "done": self.done,
            "total": total,
            "rate": round(rate),
            "left": None if left is None else round(left),
            "seconds": round(seconds),
            "lock": lock,
        }


class DiskProgress:
    """The progress of one disk."""

    def __init__(self, name: str = "", lock: int = 0) -> None:
        self.name = name
        self.lock = lock
        self._begun = Step("prepare", None)
        self._step = self._begun

    @contextlib.contextmanager
    def step(self, words: str, total: int | None = None, done: Callable[[], int] | None = None) -> Iterator[Step]:
        """Report a step until the end of the block."""
        self._step = Step(words, total, done)
        try:
            yield self._step
        finally:
            self._step = self._begun

    def row(self) -> ProgressRow:
        return self._step.row(self.name, self.lock)


class ProgressBoard:
    """The disks on which a run works now."""

    def __init__(self) -> None:
        self._disks: list[DiskProgress] = []
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def disk(self, name: str, lock: int) -> Iterator[DiskProgress]:
        """List a disk until the end of the block."""
        progress = DiskProgress(name, lock)
        with self._lock:
            self._disks.append(progress)
        try:
            yield progress
        finally:
            with self._lock:
                self._disks.remove(progress)

    def rows(self) -> list[ProgressRow]:
        with self._lock:
            disks = list(self._disks)
        return [disk.row() for disk in disks]
