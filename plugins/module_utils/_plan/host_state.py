# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The desired and the observed state of a host, and the requests and answers between controller and host. Pure.

They travel as JSON: reading it back gives these types.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any, TypedDict

from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.identities import Spellings
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.disk_requests import Detachable, DisksAnswer
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.host_size import HostSize
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.live_state import (
    LiveDisk,
    LiveNetwork,
    ObservedProcess,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.storage_owners import (
    OwnerQuestion,
    StorageOwners,
    Takeover,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._routes.capabilities import ProbedCapabilities


class FileContent(TypedDict):
    """A file that the host must have."""

    text: str
    mode: int


class DesiredVm(TypedDict):
    """One VM on a host."""

    state: str
    """started, stopped or absent; unchanged if only its helpers are written."""
    purge: bool
    autostart: bool
    restart: str
    """when_needed, if a run may restart the VM."""
    unit: str
    """The launch unit."""
    units: list[str]
    """The launch unit and the helper units."""
    reloaded: list[str]
    """Those of the units that may be restarted while the VM runs."""
    credentials: dict[str, list[str]]
    """Paths of the credentials at rest, by unit."""
    staged: list[str]
    """Units that fetch the images that the VM waits for."""
    start_timeout: int
    argv: list[str]
    """QEMU's command line."""
    fixed: dict[str, str]
    """Reasons why disks cannot be attached while the VM runs, by disk."""
    disks: dict[str, LiveDisk]
    """All disks, as a running QEMU gets them."""
    networks: dict[str, LiveNetwork]
    """All networks, as a running QEMU gets them."""
    screen_password: str
    """Path of the credential with the password of the screen; empty if it has none."""
    resumes: bool
    """If a run lets a guest run on that somebody has paused."""
    stop_timeout: int
    ready_console: str
    """Text on the console with which the guest is up after a restart; empty if nothing is waited for."""
    ready_timeout: int


class Restarts(TypedDict):
    """The way in which a run restarts VMs."""

    serial: int
    """Number of VMs at a time; 0 for all together."""
    force: bool
    """Switch off guests that do not shut down."""


class Baseline(TypedDict):
    """The observed state on which a plan is based. If it has changed, another run was faster."""

    files: dict[str, str]
    """SHA-256 digests by path; empty for a file that did not exist."""
    enabled: dict[str, bool]
    """By launch unit."""


class _Desired(TypedDict):
    files: dict[str, FileContent]
    vms: dict[str, DesiredVm]


class DesiredHost(_Desired, total=False):
    """The desired state of a host."""

    images: dict[str, list[str]]
    """Paths of credentials by staged image. If it is missing, only helpers are written, and every VM is unchanged."""
    baseline: Baseline
    restarts: Restarts
    takeovers: dict[str, list[Takeover]]
    """By VM."""


class _ObservedFile(TypedDict):
    sha256: str
    opened: dict[str, bool]
    """Identities of the storage that the unit's VM opens, and if it writes to it."""
    spellings: dict[str, Spellings]
    """Other names of that storage, by identity."""
    images: list[str]
    """Staged images that the unit waits for."""
    places: dict[str, str]
    """Places of the VM's devices, by their ids."""
    uuid: str
    """UUID of the VM; empty for a unit that is not its launch unit."""


class ObservedFile(_ObservedFile, total=False):
    """A unit file or a program on the host."""

    text: str
    """Only if a diff needs it."""


class UnitState(TypedDict):
    """The state of a unit in systemd."""

    active: str
    enabled: bool
    masked: bool
    reload: bool
    """If its file is newer than what systemd has loaded."""
    invocation: str
    """ID of its last start; empty if there was none since the boot."""
    pid: int
    """Its main process; 0 if it does not run."""


class ObservedUnit(UnitState):
    """The state of a unit, and the files that it was started from and has now."""

    started_from: dict[str, dict[str, str]] | None
    """Versions of the files of its last start, by unit and path; None if that start was not recorded."""
    drop_ins: dict[str, str]
    """Versions by path."""


class ObservedCredential(TypedDict):
    """A credential at rest."""

    version: str
    current: bool
    """If its text is the declared one."""


class UnmanagedProcess(TypedDict):
    """A QEMU process that no unit of the collection started."""

    pid: int
    unit: str
    uuid: str
    name: str
    vm: bool
    """False for qemu-nbd and qemu-storage-daemon."""
    disks: dict[str, Any]
    """As they would be declared, as far as they can be read."""
    opens: dict[str, bool]
    """Paths of declared disks that it has open, and if it may write to them."""


HEAD_LENGTH = 1024
"""Number of bytes that tell the format of an image, and the backing file of one that qemu-img has created."""


class ObservedHost(StorageOwners):
    """The state of a host, without a secret."""

    files: dict[str, ObservedFile]
    units: dict[str, ObservedUnit]
    credentials: dict[str, ObservedCredential]
    paths: dict[str, str]
    """Kinds of files (file, directory, block, char, socket, other, missing) by path."""
    names: dict[str, list[str]]
    """Addresses of servers, and device and inode numbers of paths. Servers of storage that is open are among them."""
    heads: dict[str, str]
    """First bytes in hexadecimal: of files and devices by path, and of other raw disks by "DISK of VM"."""
    not_read: dict[str, str]
    """Reason why the first bytes of a disk could not be read, by "DISK of VM"."""
    staged: list[str]
    """Images in the cache."""
    overlays: dict[str, list[str]]
    """Names of qcow2 files in the state directory, by VM."""
    unmanaged: list[UnmanagedProcess]
    processes: dict[str, ObservedProcess]
    """Processes of the VMs that run, by VM."""
    folders: list[str]
    """Folders of the VMs that are removed with them."""
    links: list[str]
    """Links to their other folders, which are kept."""
    written: dict[str, list[str]]
    """Files that are kept when a VM is removed, unless it is purged, by VM; only of VMs that may be purged."""
    size: HostSize
    addresses: list[str]
    """Addresses of the host, if they were asked for."""


class ObserveRequest(TypedDict):
    """The request of the controller to observe a host."""

    vms: list[str]
    paths: list[str]
    """Paths whose kind of file is reported."""
    texts: bool
    """Report the text of each unit, for a diff."""
    heads: list[str]
    """Files and devices whose first bytes are reported."""
    names: list[str]
    """Servers and paths of disks, to find out which of them are the same."""
    owners: dict[str, list[OwnerQuestion]]
    """By VM."""
    purged: list[str]
    """VMs whose files are listed."""
    prune: bool
    """Observe also the VMs that have a unit and are not named."""
    addresses: bool
    """Report the addresses of the host."""


JOBS = "/run/qemu-image-jobs"
"""Folder of detached processes that change disks or VMs, with ``lease``, ``pid``, ``progress`` and ``result`` of each.

Its name does not begin as those of the folders that ``_process/private_folders.py`` removes.
"""


class ProgressRow(TypedDict):
    """A disk on which a run works."""

    name: str
    step: str
    """Description in a few words."""
    done: int
    """Bytes."""
    total: int | None
    rate: int
    """Bytes a second."""
    left: int | None
    """Seconds."""
    seconds: int
    """Seconds since the step began."""
    lock: int
    """The byte by which the disk is locked."""


class _ObserveAnswer(TypedDict):
    capabilities: ProbedCapabilities
    observed: ObservedHost


class ObserveAnswer(_ObserveAnswer, total=False):
    """The answer of a host to an ObserveRequest."""

    disks: DisksAnswer
    """The predictions for managed disks, if there are any."""


class ApplyAnswer(TypedDict):
    """The result of applying a desired state."""

    actions: list[str]
    failures: dict[str, list[str]]
    """The last lines of the log by VM that does not run."""
    live_failures: dict[str, list[str]]
    """Messages about disks that were not changed, by VM that runs on."""


class StopAnswer(TypedDict):
    """The VMs that have stopped."""

    stopped: list[str]


class Request(Detachable, total=False):
    """A request of the action plugin to the module qemu_vms: exactly one of observe, desired and stop."""

    observe: ObserveRequest
    desired: DesiredHost
    encrypted: bool
    """With desired: if the credentials are encrypted at rest."""
    stop: list[str]


def encode(request: Mapping[str, Any]) -> str:
    """Encode a request with secrets for a parameter that Ansible hides.

    Base64, because Ansible masks the text of a hidden parameter in all results.
    """
    return base64.b64encode(json.dumps(request).encode()).decode()


def decode(text: str) -> Any:
    return json.loads(base64.b64decode(text))
