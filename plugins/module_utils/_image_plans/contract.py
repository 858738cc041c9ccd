# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The contract of a kind of image: desired and observed state, changes and their plan. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Callable

from ansible_collections.directdisk.qemu.plugins.module_utils._backends.values import Values
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._options.option import Option

INTERNAL = {"internal": True}
"""Metadata of a field that is for the plan alone: it is not in results."""
MERGED = {"merged": True}
"""Metadata of a field whose own fields are in results beside those of the image."""
HOST_MARK_LENGTH = 8
"""Hexadecimal digits of a host's mark in the name of an image that it is creating."""
DESTROYS = "DESTROYS DATA: "
"""Begins the line of a step that destroys data."""


@dataclass(frozen=True)
class ObservedImage:
    """State of a disk's storage. Each kind of storage adds its own fields; None stands for what it does not report."""

    exists: bool
    size: int | None = None
    """Bytes that a guest sees."""
    format: str | None = None
    opened_by: tuple[str, ...] | None = None
    """Names of the VMs of this host that have the image open."""


def result_of(observed: ObservedImage) -> dict[str, Any]:
    """Return the plain data of a result; size and format are always part of an image that exists."""
    always = ("size", "format") if observed.exists else ()
    return _plain_fields(observed, always)


def _plain_fields(value: Any, always: tuple[str, ...] = ()) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for entry in fields(value):
        content = getattr(value, entry.name)
        if "internal" in entry.metadata or (content is None and entry.name not in always):
            continue
        if "merged" in entry.metadata:
            result.update(_plain_fields(content))
        else:
            result[entry.name] = _plain(content)
    return result


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return _plain_fields(value)
    if isinstance(value, Mapping):
        return dict(value)
    return [_plain(one) for one in value] if isinstance(value, (list, tuple)) else value


@dataclass(frozen=True)
class DesiredImage:
    """Desired state of one disk."""

    kind: ImageKind
    disk: Disk
    """Storage of the image; its settings have ``format``, ``luks``, ``route`` and, if declared, ``size``; its
    ``origin`` is the source of a new image."""
    state: str
    """present or absent; info if it is only read, as by qemu_disks_info."""
    provision: Values
    """Options of the lifecycle, read and typed."""
    monitor: str = ""
    """QMP socket of the VM that has the disk open."""
    node: str = ""
    """Name of the disk's base node in that VM."""
    closing: str = ""
    """Name of the VM of this host that has the disk open now, and will have been stopped before the change."""

    @property
    def size(self) -> int | None:
        """Bytes that a guest must see; None leaves the size as it is."""
        return self.disk.settings.get("size")


@dataclass(frozen=True)
class Change:
    """A change of a disk's storage. Each kind of storage has its own changes, with the values that they take."""


@dataclass(frozen=True)
class Step:
    """One change of a plan, with its description."""

    change: Change
    description: str
    """Imperative, for results and diffs: ``create rbd vms/web1 of 20 GiB``."""
    destroys: bool = False
    """Data is lost that no later step brings back."""

    @property
    def line(self) -> str:
        """The step in results and diffs; one that destroys data is marked."""
        return f"{DESTROYS}{self.description}" if self.destroys else self.description


@dataclass(frozen=True)
class ImagePlan:
    """Steps for one disk, and the state that they lead to."""

    after: ObservedImage
    steps: tuple[Step, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class ImageKind:
    """The options and the functions that plan the images of one kind of storage."""

    name: str
    options: tuple[Option, ...]
    """Options of ``provision`` in a declaration."""
    check: Callable[[DesiredImage], None]
    """Raises DeclarationError for what no host can do."""
    plan: Callable[[DesiredImage, Any], ImagePlan]
    """Takes what was observed. Raises DeclarationError for what must not be done to the storage."""
    packages: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Packages by OS family that it needs beside those of the backend's route."""
    discover_without: tuple[str, ...] = ()
    """Options of the backend without which qemu_disks_info lists the disks of a server."""
    serves: Callable[[DesiredImage], bool] = lambda desired: False
    """Tells if this host is the server that exports the disk: then it needs no QEMU."""
