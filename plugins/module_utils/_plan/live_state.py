# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts of a running VM, as QEMU gets them and as they are observed. Pure. They travel as JSON."""

from __future__ import annotations

from typing import Any, TypedDict


class FileAccess(TypedDict):
    """A file or device of the host that QEMU is given."""

    path: str
    mode: str
    """r or rw."""


class LiveOverlay(TypedDict):
    """The qcow2 with a guest's writes over an image."""

    path: str
    persistent: bool
    """If one that exists is used."""
    base: str
    """Node of the image."""
    backing: str
    """Name of the image in its header."""
    format: str
    """Format of the image."""


class LiveDisk(TypedDict):
    """A disk as a running QEMU gets it: arguments of its command line, and what they need."""

    objects: list[str]
    nodes: list[dict[str, Any]]
    controller: str
    """A SCSI controller that it shares with other disks, and that QEMU may not have yet."""
    devices: list[str]
    """A controller of its own, if it has one, and the disk."""
    secrets: dict[str, str]
    """Paths of credentials at rest or of a helper's files, by the ids of the objects that hold their texts."""
    files: dict[str, FileAccess]
    """Files and devices, by their paths in the nodes."""
    texts: dict[str, str]
    """Small files without a secret, by their paths in the nodes."""
    passed: dict[str, str]
    """Names of all these files in QEMU, by their paths in the nodes, once it has been given them."""
    helpers: list[str]
    """Units that must run first."""
    network: bool
    """If QEMU itself connects to its storage over a network."""
    backing: dict[str, Any]
    """The declared backing file of its image by base node, as in StartCheck; empty if it stands on none."""
    overlay: LiveOverlay | None


class LiveNetwork(TypedDict):
    """A network as a running QEMU gets it."""

    netdevs: list[str]
    devices: list[str]
    tap: str
    """Its tap device; empty for a user network."""
    bridge: str
    link_down: bool


class UndeclaredDevice(TypedDict):
    """A disk or network interface that somebody has added to a running VM over its monitor."""

    id: str
    """Its id, or its path in QEMU's tree of objects if it has none."""
    driver: str
    nodes: list[str]
    """The named nodes that only it has, each before those below it."""
    netdev: str
    """The network behind a network interface; empty if the VM was started with it."""


class ObservedSizes(TypedDict):
    """The memory and CPUs that can be plugged, as far as a running VM has them."""

    cpus: int
    """All its CPUs; 0 if none can be plugged."""
    memory: int
    """Memory that the guest has taken, in bytes."""
    requested: int
    """Memory that it was asked to take, in bytes."""


class ObservedProcess(TypedDict):
    """The QEMU process of a running VM."""

    argv: list[str]
    """The command line that it was started with."""
    disks: dict[str, LiveDisk | None]
    """Disks that were attached since, and None for disks that were detached."""
    networks: dict[str, LiveNetwork | None]
    """Networks that were plugged or changed since, and None for networks that were unplugged."""
    links_down: list[str]
    """Networks whose links were down when it started."""
    bridges: dict[str, str]
    """Bridges of its tap devices, by network; empty for one that is on no bridge."""
    devices: list[str]
    """Ids of its devices."""
    nodes: list[str]
    """Names of its block nodes."""
    media: dict[str, str]
    """The nodes in its drives, by device; empty for a CD drive without a medium."""
    undeclared: list[UndeclaredDevice]
    unused_nodes: list[str]
    """Nodes that somebody has added, and no device uses."""
    jobs: list[str]
    """Its jobs, exports and migrations; they are asked for only if it has undeclared devices or nodes."""
    limits: dict[str, dict[str, int]]
    """Limits by throttle group."""
    sizes: ObservedSizes
    release: list[int]
    """Release of its QEMU, major and minor number."""
    status: str
    error: str
    """Reason why its monitor could not be asked."""
