# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How QEMU and its helpers open the storage: driver, routes, sandbox."""

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
    """What the process that opens the storage must be able to touch; the sandbox is derived from it."""

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
    """A bundle of certificate authorities that takes the place of the system's own."""
    known_hosts: str = ""
    """A file of ssh host keys that takes the place of the system's own."""
    open_because: str = ""
    """Why not all the addresses that it connects to are known; empty where they are."""


@dataclass(frozen=True)
class NbdkitPlugin:
    """How nbdkit serves the same bytes: plugin, parameters, and the filters it needs."""

    name: str
    parameters: tuple[str, ...]
    filters: tuple[str, ...] = ()
    pins: tuple[str, ...] = ()
    """Parameters that keep it from going wherever the server sends it on to."""
    leaks: str = ""
    """The option whose secret it would take along there."""
    unpacks: bool = False
    """Whether it writes the whole image into a temporary file."""


NbdkitServe = Callable[[Values, UnitResources], NbdkitPlugin]


@dataclass(frozen=True)
class Download:
    """How curl fetches the whole image, for the route stage."""

    url: str
    options: Mapping[str, str] = field(default_factory=dict)
    """Long options of curl with their values, none of them secret; an empty value for an option that takes none."""
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Long options of curl whose values are secret: they reach it in a file. The url is one where its query is."""
    resumes: bool = True
    """Whether the protocol can go on where a broken download ended."""
    says: bool = False
    """Whether an answer says, beside the bytes, what image they are of, and may come from elsewhere (HTTP)."""

    @property
    def url_is_secret(self) -> bool:
        """Whether the whole url stands among the secrets, and ``url`` is for messages alone."""
        return "url" in self.secrets


@dataclass(frozen=True)
class TgtStore:
    """What tgtd opens, for the route tgt."""

    kind: str
    """tgt's name of the storage (``--bstype``)."""
    name: str
    """What of it (``--backing-store``)."""


@dataclass(frozen=True)
class Flaw:
    """A route that loads but is known to misbehave on some QEMU; ``auto`` takes it last."""

    route: str
    since: Version
    """First QEMU with which it does."""
    why: str


@dataclass(frozen=True)
class OwnerCheck:
    """How to ask a storage who has it open. The program of its kind does: `_programs/owners_KIND.py`."""

    kind: str
    facts: Mapping[str, Any]
    """What the program needs to know, none of it secret: files with secrets go by their paths."""
    shows_qemu: bool = False
    """Whether the storage shows QEMU itself, too, once that has opened it: a second client cannot hide then."""
    locked: bool = False
    """Whether QEMU refuses by itself to open what is open elsewhere: an owner is only named then."""


def no_driver(values: Values, resources: UnitResources) -> Node:
    """For a backend that QEMU has no driver for: its routes do not ask for this node."""
    raise DeclarationError("", "QEMU has no driver for it")


@dataclass(frozen=True)
class Access:
    """How the storage is opened, by QEMU's driver and by the other routes."""

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
    """Return how to ask who has the storage open, for the VM with this UUID; None if the storage cannot tell."""
    scsi_passthrough: bool = False
    """True if a guest can send SCSI commands to the device itself."""
