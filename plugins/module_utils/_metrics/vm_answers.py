# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers of a VM's monitor, checked and bounded: a guest may have broken into its QEMU.

Only disks that the unit names are taken, and only values that QEMU has: a hostile QEMU must not fill a
Prometheus with names of its own.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._clients.qmp import Monitor
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import QmpError
from ansible_collections.directdisk.qemu.plugins.module_utils._metrics.exposition import (
    IO_STATUSES,
    OTHER,
    PAUSE_REASONS,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._units.node_names import disk_of_node

ANSWER_LIMIT = 1 << 20
"""Bytes of an answer. That of a disk with a backing file has about 10 KiB; many VMs are asked at the same time."""
PAUSED_BY_ERROR = "io-error"
_COUNTER_END = 1 << 64
_OPERATIONS = {"read": "rd", "write": "wr", "flush": "flush"}
"""Operations and how QEMU abbreviates them."""


@dataclass
class DiskAnswers:
    """Answers about a disk."""

    bytes: dict[str, int] = field(default_factory=dict)
    completed: dict[str, int] = field(default_factory=dict)
    nanoseconds: dict[str, int] = field(default_factory=dict)
    errors: dict[str, int] = field(default_factory=dict)
    """By operation."""
    io_status: str = ""
    size: int | None = None
    allocated: int | None = None


@dataclass
class VmAnswers:
    """Answers about a VM: everything that came in time."""

    complete: bool = False
    """If all questions were answered."""
    status: str = ""
    """QAPI RunState; empty if it is not known."""
    disks: dict[str, DiskAnswers] = field(default_factory=dict)


def ask(path: str, disks: Collection[str], *, seconds: float, details: bool) -> VmAnswers:
    """Ask the monitor at a socket, at most for some seconds; disks: the names of the VM's disks.

    details: if a running VM, too, is asked for what QEMU asks its storage for; the guest waits for that.
    """
    answers = VmAnswers()
    try:
        with Monitor.connect(path, seconds=seconds, answer_limit=ANSWER_LIMIT) as monitor:
            answers.status = _status(monitor.execute("query-status"))
            for row in _rows(monitor.execute("query-blockstats")):
                disk = disk_of_node(_text(row.get("node-name")))
                if disk in disks:
                    answers.disks[disk] = _counters(_mapping(row.get("stats")))
            details = details or answers.status == PAUSED_BY_ERROR
            for row in _rows(monitor.execute("query-block")) if details else ():
                inserted = _mapping(row.get("inserted"))
                disk = disk_of_node(_text(inserted.get("node-name")))
                if disk in answers.disks:
                    _add_details(answers.disks[disk], row, _mapping(inserted.get("image")))
            answers.complete = True
    except QmpError:
        pass
    return answers


def _status(answer: Any) -> str:
    status = _text(_mapping(answer).get("status"))
    return status if status in ("running", *PAUSE_REASONS) else OTHER


def _counters(stats: dict[str, Any]) -> DiskAnswers:
    return DiskAnswers(
        bytes={name: _number(stats.get(f"{_OPERATIONS[name]}_bytes")) for name in ("read", "write")},
        completed={name: _number(stats.get(f"{short}_operations")) for name, short in _OPERATIONS.items()},
        nanoseconds={name: _number(stats.get(f"{short}_total_time_ns")) for name, short in _OPERATIONS.items()},
        errors={name: _number(stats.get(f"failed_{short}_operations")) for name, short in _OPERATIONS.items()},
    )


def _add_details(answers: DiskAnswers, row: dict[str, Any], image: dict[str, Any]) -> None:
    # QEMU names no status for a device that has none, such as a CD-ROM.
    status = row.get("io-status", "ok")
    answers.io_status = status if status in IO_STATUSES else OTHER
    answers.size = _number(image.get("virtual-size"))
    answers.allocated = _number(image["actual-size"]) if "actual-size" in image else None


def _number(value: Any) -> int:
    """Return a counter or size; QEMU leaves out some."""
    number = 0 if value is None else value
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < _COUNTER_END:
        raise QmpError("its monitor does not answer as QEMU does")
    return number


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _rows(answer: Any) -> list[dict[str, Any]]:
    if not isinstance(answer, list):
        raise QmpError("its monitor does not answer as QEMU does")
    return [row for row in answer if isinstance(row, dict)]
