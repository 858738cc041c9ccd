# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Opening the storage: driver, routes, sandbox."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Callable

from ansible_collections.directdisk.qemu.plugins.module_utils._backends.resources import UnitResources
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.values import Node, Values
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError
from ansible_collections.directdisk.qemu.plugins.module_utils._options.option import Version


@dataclass(frozen=True)
class Reach:
    """Everything that the process that opens the storage may touch; the sandbox is derived from it."""

    servers: tuple[str, ...] = ()
    """Host names, addresses or networks (CIDR) it connects to."""
    sockets: tuple[str, ...] = ()
    """Unix sockets it connects to."""
    files: tuple[str, ...] = ()
    """Files it opens, readable and, for a writable disk, writable."""
    devices: tuple[str, ...] = ()
    """Device nodes it opens."""
    loaded: tuple[str, ...] = ()
    """Files that systemd loads for it as credentials."""
    trust: str = ""
    """A bundle of certificate authorities that replaces the system's own."""
    known_hosts: str = ""
    """A file of ssh host keys that replaces the system's own."""
    open_because: str = ""
    """The reason why the addresses that it connects to are not all known; empty if they are."""


@dataclass(frozen=True)
class NbdkitPlugin:
    """nbdkit's arguments to serve the storage: plugin, parameters, filters."""

    name: str
    parameters: tuple[str, ...]
    filters: tuple[str, ...] = ()
    pins: tuple[str, ...] = ()
    """Parameters that keep it from following redirects elsewhere."""
    leaks: str = ""
    """The option whose secret it would send there."""
    unpacks: bool = False
    """True if it writes the whole image into a temporary file."""
    writes: bool = False
    """True if it can write to the image."""


NbdkitServe = Callable[[Values, UnitResources], NbdkitPlugin]


@dataclass(frozen=True)
class Download:
    """curl's arguments to fetch the whole image, for route ``stage``."""

    url: str
    options: Mapping[str, str] = field(default_factory=dict)
    """Long options of curl with their values, none of them secret; an empty value for an option that takes none."""
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Long options of curl with secret values, passed in a file. Includes the url if its query is secret."""
    resumes: bool = True
    """True if a broken download can be resumed."""
    says: bool = False
    """True if answers have headers that identify the image, and redirects are possible (HTTP)."""

    @property
    def url_is_secret(self) -> bool:
        """Return True if the whole url is secret, and ``url`` is only for messages."""
        return "url" in self.secrets


@dataclass(frozen=True)
class TgtStore:
    """The backing store of tgtd, for route ``tgt``."""

    kind: str
    """tgt's name of the storage (``--bstype``)."""
    name: str
    """The name of the image in that storage (``--backing-store``)."""


@dataclass(frozen=True)
class Flaw:
    """A route that loads but misbehaves with some QEMU releases; ``auto`` tries it last."""

    route: str
    since: Version
    """The first such release."""
    why: str


@dataclass(frozen=True)
class OwnerCheck:
    """A question to the storage who has it open. The program of its kind, `_programs/owners_KIND.py`, asks it."""

    kind: str
    facts: Mapping[str, Any]
    """Arguments of the program, none of them secret: secrets are passed as paths of files."""
    shows_qemu: bool = False
    """True if the storage also lists QEMU itself once it has opened it: then a second client is always visible."""
    locked: bool = False
    """True if QEMU itself refuses storage that is open elsewhere: then the check only names the owner."""
    takes: bool = False
    """True if the program can shut a client out."""


def no_driver(values: Values, resources: UnitResources) -> Node:
    """Raise DeclarationError: for a backend without a driver in QEMU, whose routes build no protocol node."""
    raise DeclarationError("", "QEMU has no driver for it")


@dataclass(frozen=True)
class Access:
    """The ways to open the storage: QEMU's driver and the other routes."""

    driver: str
    """QEMU's block driver; empty if QEMU has none."""
    node: Callable[[Values, UnitResources], Node]
    """Build the protocol node, without node-name, cache and read-only: those belong to the disk."""
    reach: Callable[[Values], Reach]
    """Return what the process that opens the storage must be able to touch."""
    driver_until: Version | None = None
    """The first QEMU release without the driver."""
    unhandled: Mapping[str, str] = field(default_factory=dict)
    """Members of QEMU's driver that are left out on purpose, with the reason."""
    routes: tuple[str, ...] = ("driver",)
    """Names of the routes, in the order in which ``auto`` tries them."""
    flaws: tuple[Flaw, ...] = ()
    why_unsuited: Callable[[str, Values], str] = lambda route, values: ""
    """Return why a route cannot serve these values; empty if it can. Reasons of one option are in its ``routes``."""
    driver_only: tuple[str, ...] = ()
    """Options without effect on other routes than ``driver``."""
    nbdkit: NbdkitServe | None = None
    nbdkit_plugins: tuple[str, ...] = ()
    """nbdkit's plugin, and then the filters, with which it serves the backend."""
    stage: Callable[[Values], Download] | None = None
    tgt: Callable[[Values], TgtStore] | None = None
    tgt_module: str = ""
    """File name of the module that tgtd loads for it; empty if it is built in."""
    root_members: Mapping[str, int] = field(default_factory=dict)
    """QAPI members with which a module acts as this host's root if a declaration names no user."""
    closes_slowly: bool = False
    """True if QEMU takes seconds to close an image and may crash meanwhile: use a process of its own for each."""
    owner: Callable[[Values, UnitResources, str], OwnerCheck] | None = None
    """Return how to ask who has the storage open, for the VM with this UUID, which is empty for a module.

    None if the storage cannot tell.
    """
    scsi_passthrough: bool = False
    """True if a guest can send SCSI commands to the device itself."""
