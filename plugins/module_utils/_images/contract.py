# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The contract that a file under ``_images/`` fills in: how the images of one kind of storage are kept.

Looking and carrying out touch the storage; planning between the two is pure, so that check mode tells the truth.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Callable

from ansible_collections.directdisk.qemu.plugins.module_utils._backends.contract import Values
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._options.option import Option

if TYPE_CHECKING:
    from ansible_collections.directdisk.qemu.plugins.module_utils._access.workbench import Workbench

ObservedImage = Mapping[str, Any]
"""What a look at a disk's storage found, as plain data without a secret in it: ``exists``, and where it does ``size``
(bytes that a guest would see), ``format`` and what else the lifecycle reports. What begins with _, and what
stands in ``around``, is for the plan alone."""


DESTROYS = "DESTROYS DATA: "
"""Begins the line of a step after which data is gone."""


@dataclass(frozen=True)
class DesiredImage:
    """What one disk should be like."""

    disk: Disk
    """Where the bytes are; its settings have ``format``, ``luks``, ``route`` and, where declared, ``size``; its
    ``origin`` is what a new image begins as."""
    state: str
    """present, absent or info."""
    provision: Values
    """The lifecycle's own options, read and typed."""
    monitor: str = ""
    """QMP socket of the machine that has the disk open."""
    node: str = ""
    """Name of the disk's base node in that machine."""

    @property
    def size(self) -> int | None:
        """Bytes that a guest should see; None where that is left as it is."""
        return self.disk.settings.get("size")


@dataclass(frozen=True)
class Step:
    """One change."""

    verb: str
    """Which of the lifecycle's verbs carries it out."""
    words: str
    """For people, as an order: ``create rbd vms/web1 of 20 GiB``."""
    values: Values = field(default_factory=dict)
    destroys: bool = False
    """Data is lost by it that no later step brings back."""

    @property
    def line(self) -> str:
        """The step in results and diffs; one that destroys data is marked."""
        return f"{DESTROYS}{self.words}" if self.destroys else self.words


@dataclass(frozen=True)
class ImagePlan:
    """What would be done, and what a look would find afterwards."""

    after: ObservedImage
    steps: tuple[Step, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Lifecycle:
    """How the images of one kind of storage are looked at, made, changed and removed."""

    name: str
    options: tuple[Option, ...]
    """What ``provision`` of a declaration takes."""
    check: Callable[[DesiredImage], None]
    """Raises DeclarationError for what no host could do; asks nobody."""
    observe: Callable[[DesiredImage, Workbench], ObservedImage]
    plan: Callable[[DesiredImage, ObservedImage], ImagePlan]
    """Pure. Raises DeclarationError for what must not be done to the storage as it was found."""
    verbs: Mapping[str, Callable[[DesiredImage, Values, Workbench], None]]
    packages: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Packages by OS family that it needs beside those of the backend's route."""
    discover: Callable[[Values, Workbench], ObservedImage] | None = None
    """Finds what disks there are, with the backend's values but for those of ``survey_without``."""
    discover_without: tuple[str, ...] = ()
    """Options of the backend without which state info means a survey."""
    serves: Callable[[DesiredImage], bool] = lambda desired: False
    """Whether this host is the one that gives the disk out: it needs no QEMU then."""
