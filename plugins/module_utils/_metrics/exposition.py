# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Metrics in Prometheus' text format: names, types, help texts, and the values of one collection. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Family(NamedTuple):
    """A metric: its values differ in their labels only."""

    name: str
    kind: str
    """gauge or counter."""
    labels: tuple[str, ...]
    help: str


_VM = ("vm",)
_DISK = ("vm", "disk")
STATES = ("running", "paused", "starting", "stopping", "stopped", "failed", "unknown")
PAUSE_REASONS = (
    *("debug", "inmigrate", "internal-error", "io-error", "paused", "postmigrate", "prelaunch", "finish-migrate"),
    *("restore-vm", "save-vm", "shutdown", "suspended", "watchdog", "guest-panicked", "colo"),
)
"""States of QEMU (QAPI RunState) other than running."""
IO_STATUSES = ("ok", "failed", "nospace")
"""QAPI BlockDeviceIoStatus."""
OTHER = "other"
"""A value that QEMU does not have."""

FAMILIES = (
    Family("qemu_vm_state", "gauge", (*_VM, "state"), "State of a VM: 1 for the one that it is in, 0 for others."),
    Family("qemu_vm_pause_reason", "gauge", (*_VM, "reason"), "Reason why a VM is paused, in QEMU's words: always 1."),
    Family("qemu_vm_enabled", "gauge", _VM, "1 if the VM starts with its host."),
    Family("qemu_vm_declared", "gauge", _VM, "0 if the VM has a unit on this host and no declaration."),
    Family("qemu_vm_restart_due", "gauge", _VM, "1 if changes of a VM's unit take effect at its next start only."),
    Family(
        "qemu_vm_automatic_restarts_total",
        "counter",
        _VM,
        "Restarts by systemd since the VM was last started by a person or by Ansible.",
    ),
    Family("qemu_vm_monitor_up", "gauge", _VM, "1 if the QEMU of an active VM has answered all questions in time."),
    Family("qemu_vm_disk_read_bytes_total", "counter", _DISK, "Bytes that the guest has read."),
    Family("qemu_vm_disk_written_bytes_total", "counter", _DISK, "Bytes that the guest has written."),
    Family("qemu_vm_disk_reads_completed_total", "counter", _DISK, "Reads of the guest that have succeeded."),
    Family("qemu_vm_disk_writes_completed_total", "counter", _DISK, "Writes of the guest that have succeeded."),
    Family("qemu_vm_disk_flushes_completed_total", "counter", _DISK, "Flushes of the guest that have succeeded."),
    Family("qemu_vm_disk_read_time_seconds_total", "counter", _DISK, "Time that reads have taken, added up."),
    Family("qemu_vm_disk_write_time_seconds_total", "counter", _DISK, "Time that writes have taken, added up."),
    Family("qemu_vm_disk_flush_time_seconds_total", "counter", _DISK, "Time that flushes have taken, added up."),
    Family(
        "qemu_vm_disk_errors_total",
        "counter",
        (*_DISK, "operation"),
        "Operations of the guest that have failed: read, write or flush.",
    ),
    Family(
        "qemu_vm_disk_io_status",
        "gauge",
        (*_DISK, "status"),
        "State of a disk's I/O: 1 for ok, failed or nospace. Only with metrics_disk_details, or after an I/O error.",
    ),
    Family("qemu_vm_disk_size_bytes", "gauge", _DISK, "Size of the disk. Only as qemu_vm_disk_io_status."),
    Family(
        "qemu_vm_disk_allocated_bytes",
        "gauge",
        _DISK,
        "Bytes that the image takes on its storage, if QEMU knows. Only as qemu_vm_disk_io_status.",
    ),
    Family("qemu_image_cache_bytes", "gauge", (), "Bytes that the staged images take on the host."),
    Family("qemu_image_cache_files", "gauge", (), "Staged images on the host."),
    Family("qemu_metrics_collection_success", "gauge", (), "1 if systemd and the image cache could be read."),
    Family("qemu_metrics_collection_duration_seconds", "gauge", (), "Time that the last collection took."),
    Family("qemu_metrics_collection_timestamp_seconds", "gauge", (), "Unix time of the last collection."),
)
_BY_NAME = {family.name: family for family in FAMILIES}


class Exposition:
    """The values of one collection."""

    def __init__(self) -> None:
        self._values: dict[str, list[str]] = {}

    def add(self, name: str, value: float, *labels: str) -> None:
        """Add a value of a metric; labels: the values of its labels, in their order."""
        names = _BY_NAME[name].labels
        if len(labels) != len(names):
            raise ValueError(f"{name} has the labels {', '.join(names)}")
        pairs = ",".join(f'{label}="{_escaped(text)}"' for label, text in zip(names, labels))
        number = f"{value:.6f}" if isinstance(value, float) else str(int(value))
        self._values.setdefault(name, []).append(f"{name}{{{pairs}}} {number}" if pairs else f"{name} {number}")

    def add_choice(self, name: str, chosen: str, choices: Iterable[str], *labels: str) -> None:
        """Add a value for each choice: 1 for the chosen one, 0 for the others."""
        for choice in choices:
            self.add(name, chosen == choice, *labels, choice)

    def text(self) -> str:
        """Return all values. Those of a metric stand together, below its type."""
        lines: list[str] = []
        for family in FAMILIES:
            values = self._values.get(family.name)
            if values:
                lines += [f"# HELP {family.name} {family.help}", f"# TYPE {family.name} {family.kind}", *values]
        return "".join(f"{line}\n" for line in lines)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
