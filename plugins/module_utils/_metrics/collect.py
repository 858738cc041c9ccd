# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# pylint: disable=ansible-bad-function
"""Collects the metrics of a host and writes them for node_exporter. Role metrics installs it as a program."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError
from ansible_collections.directdisk.qemu.plugins.module_utils._metrics import units, vm_answers
from ansible_collections.directdisk.qemu.plugins.module_utils._metrics.exposition import (
    IO_STATUSES,
    STATES,
    Exposition,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._metrics.vm_answers import DiskAnswers, VmAnswers
from ansible_collections.directdisk.qemu.plugins.module_utils._units import paths

CACHE = os.path.dirname(paths.image_file(""))
WORKERS = 16
"""VMs that are asked at the same time; one that does not answer keeps its place for the whole time limit."""
_MOST_FILES = 100_000
_NANOSECONDS = 1e9


class Settings(NamedTuple):
    """Settings of the program."""

    path: str
    """File to write."""
    seconds: float
    """Time limit for a VM's answers."""
    details: bool
    declared: Collection[str]
    """Names of the declared VMs."""


def read_settings(path: str) -> Settings:
    with open(path, encoding="utf-8") as stream:
        read = json.load(stream)
    return Settings(read["path"], float(read["seconds"]), bool(read["details"]), frozenset(read["declared"]))


def collect(settings: Settings) -> tuple[str, list[str]]:
    """Return the metrics, and what could not be read."""
    began, problems = time.monotonic(), []
    metrics = Exposition()
    try:
        observed = units.vms()
    except (HostError, OSError) as error:
        observed = []
        problems.append(str(error))
    _add_vms(metrics, observed, settings)
    try:
        _add_cache(metrics)
    except OSError as error:
        problems.append(f"{CACHE}: {error.strerror or error}")
    metrics.add("qemu_metrics_collection_success", not problems)
    metrics.add("qemu_metrics_collection_duration_seconds", time.monotonic() - began)
    metrics.add("qemu_metrics_collection_timestamp_seconds", time.time())
    return metrics.text(), problems


def _add_vms(metrics: Exposition, observed: Sequence[units.UnitOfVm], settings: Settings) -> None:
    active = [unit for unit in observed if unit.state == "running"]

    def ask(unit: units.UnitOfVm) -> VmAnswers:
        path = paths.qmp_socket(unit.vm)
        return vm_answers.ask(path, unit.disks, seconds=settings.seconds, details=settings.details)

    with ThreadPoolExecutor(WORKERS) as pool:
        answers = dict(zip((unit.vm for unit in active), pool.map(ask, active)))
    for unit in observed:
        metrics.add("qemu_vm_enabled", unit.enabled, unit.vm)
        metrics.add("qemu_vm_declared", unit.vm in settings.declared, unit.vm)
        metrics.add("qemu_vm_automatic_restarts_total", unit.restarts, unit.vm)
        if unit.vm in answers:
            metrics.add("qemu_vm_restart_due", unit.restart_due, unit.vm)
            _add_answers(metrics, unit.vm, answers[unit.vm])
        else:
            metrics.add_choice("qemu_vm_state", unit.state, STATES, unit.vm)


def _add_answers(metrics: Exposition, vm: str, answers: VmAnswers) -> None:
    paused = answers.status not in ("", "running")
    state = "paused" if paused else answers.status or "unknown"
    metrics.add_choice("qemu_vm_state", state, STATES, vm)
    if paused:
        metrics.add("qemu_vm_pause_reason", 1, vm, answers.status)
    metrics.add("qemu_vm_monitor_up", answers.complete, vm)
    for disk, facts in sorted(answers.disks.items()):
        _add_disk(metrics, vm, disk, facts)


def _add_disk(metrics: Exposition, vm: str, disk: str, facts: DiskAnswers) -> None:
    metrics.add("qemu_vm_disk_read_bytes_total", facts.bytes["read"], vm, disk)
    metrics.add("qemu_vm_disk_written_bytes_total", facts.bytes["write"], vm, disk)
    for operation, plural in (("read", "reads"), ("write", "writes"), ("flush", "flushes")):
        metrics.add(f"qemu_vm_disk_{plural}_completed_total", facts.completed[operation], vm, disk)
        seconds = facts.nanoseconds[operation] / _NANOSECONDS
        metrics.add(f"qemu_vm_disk_{operation}_time_seconds_total", seconds, vm, disk)
        metrics.add("qemu_vm_disk_errors_total", facts.errors[operation], vm, disk, operation)
    if facts.io_status:
        metrics.add_choice("qemu_vm_disk_io_status", facts.io_status, IO_STATUSES, vm, disk)
    if facts.size is not None:
        metrics.add("qemu_vm_disk_size_bytes", facts.size, vm, disk)
    if facts.allocated is not None:
        metrics.add("qemu_vm_disk_allocated_bytes", facts.allocated, vm, disk)


def _add_cache(metrics: Exposition) -> None:
    """Add the images that route stage keeps; a host without such a disk has no folder for them."""
    sizes = []
    with contextlib.suppress(FileNotFoundError), os.scandir(CACHE) as entries:
        for entry, _number in zip(entries, range(_MOST_FILES)):
            if entry.is_file(follow_symlinks=False):
                sizes.append(entry.stat(follow_symlinks=False).st_blocks * 512)
    metrics.add("qemu_image_cache_bytes", sum(sizes))
    metrics.add("qemu_image_cache_files", len(sizes))


def write(path: str, text: str) -> None:
    """Replace a file at once: node_exporter may read it at any time, and reads *.prom only."""
    new = f"{path}.new"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(new)
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        os.fchmod(handle, 0o644)
        stream.write(text)
        stream.flush()
        os.fsync(handle)
    os.rename(new, path)


def main(settings_path: str) -> None:
    settings = read_settings(settings_path)
    text, problems = collect(settings)
    write(settings.path, text)
    for problem in problems:
        print(problem, file=sys.stderr)
