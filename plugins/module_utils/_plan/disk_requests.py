# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests about the disks of VMs and their answers, between controller and host. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict


class DiskToRead(TypedDict):
    """A disk that is only opened, and whose first bytes are read before its VM opens it."""

    name: str
    """DISK of VM."""
    node: str
    """The node of its storage in QEMU."""
    before_start: bool
    """If it is read before its VM starts, too, and not only before a running VM is given it."""
    unit: str
    """The VM's launch unit."""
    identity: str
    """The identity of its storage."""
    declared: Mapping[str, Any]


class DisksRequest(TypedDict):
    """The disks in a request to observe a host. It holds their secrets."""

    managed: list[dict[str, Any]]
    """The fields of VmDisk, for those whose images are managed."""
    to_read: list[DiskToRead]


class _DiskResult(TypedDict):
    name: str
    changed: bool


class DiskResult(_DiskResult, total=False):
    """The result of one disk in the answer of qemu_disks; the module documents its further members."""

    failed: bool
    refused: bool
    """If the declaration is wrong, so that nothing at all may change."""
    msg: str
    actions: list[str]


class DisksAnswer(TypedDict):
    """The answer of qemu_disks, and the predictions in the observation of a host, as far as they are read here."""

    disks: list[DiskResult]
    diff: list[dict[str, Any]]
    warnings: list[str]


class _DisksWork(TypedDict):
    disks: Any
    predict: bool
    """In check mode, whatever the mode of the task is."""


class Detachable(TypedDict, total=False):
    """A request for work that may take long."""

    wait: float
    """Seconds after which the work goes on without the module; all of it in the module if this is missing."""


class DisksWork(_DisksWork, Detachable):
    """A request to qemu_disks."""
