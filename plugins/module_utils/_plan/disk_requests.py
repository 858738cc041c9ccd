# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests about the disks of VMs and their answers, between controller and host. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict

from ansible_collections.directdisk.qemu.plugins.module_utils._backends.values import Node


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


class DiskToManage(TypedDict):
    """A disk of a VM whose image is managed."""

    vm: str
    disk: str
    declared: Mapping[str, Any]


class DisksRequest(TypedDict):
    """The disks in a request to observe a host. It holds their secrets."""

    managed: list[DiskToManage]
    to_read: list[DiskToRead]


class _DiskResult(TypedDict):
    name: str
    changed: bool


class DiskResult(_DiskResult, total=False):
    """The result of one disk in the answer of qemu_disks, which documents its members."""

    failed: bool
    refused: bool
    """If the declaration is wrong, so that nothing at all may change."""
    msg: str
    exception: str
    """The traceback of an unexpected error."""
    actions: list[str]
    state: str
    size: int | None
    format: str | None
    blockdev: list[Node]
    image: Mapping[str, Any]
    """State of the image, as its kind of storage reports it."""


class Diff(TypedDict, total=False):
    """The diff of one disk, as Ansible shows it with --diff."""

    before_header: str
    after_header: str
    before: Mapping[str, Any]
    after: Mapping[str, Any]
    prepared: str


class DisksAnswer(TypedDict):
    """The answer of qemu_disks, and the predictions in the observation of a host."""

    disks: list[DiskResult]
    diff: list[Diff]
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
