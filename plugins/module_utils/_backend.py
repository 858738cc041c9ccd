# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The contract that a file under ``_backends/`` fills in. No I/O here, and none there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Callable

from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError
from ansible_collections.directdisk.qemu.plugins.module_utils._wiring import Wiring

Node = dict[str, Any]
"""One ``-blockdev`` dict, keys as in QEMU's QAPI schema."""

Values = Mapping[str, Any]
"""The options of one disk after reading: right types, no unknown key, only what was declared."""

Version = tuple[int, int]


@dataclass(frozen=True)
class Option:
    """One option of a declaration: name, type and meaning; everything else derives from it."""

    name: str
    summary: str
    type: str = "str"  # str, int, bool, float, size (bytes), path (absolute, on the host), list, dict, any
    required: bool = False
    default: Any = None
    choices: tuple[str, ...] = ()
    elements: str = ""
    options: tuple[Option, ...] = ()
    aliases: tuple[str, ...] = ()
    secret: bool = False
    pattern: str = ""
    pattern_help: str = ""
    minimum: int | None = None
    maximum: int | None = None
    qemu: str = ""
    """The QAPI member this option becomes; empty where the backend builds the member itself."""
    since: Version | None = None
    """First QEMU that has the member."""


@dataclass(frozen=True)
class Reach:
    """What the process that opens the storage must be able to touch; the sandbox is derived from it."""

    servers: tuple[str, ...] = ()
    """Host names or addresses it connects to."""
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


@dataclass(frozen=True)
class NbdkitPlugin:
    """How nbdkit serves the same bytes: plugin, parameters, and the filters it needs."""

    name: str
    parameters: tuple[str, ...]
    filters: tuple[str, ...] = ()


NbdkitServe = Callable[[Values, Wiring], NbdkitPlugin]


@dataclass(frozen=True)
class Flaw:
    """A route that loads but is known to misbehave on some QEMU; ``auto`` takes it last."""

    route: str
    first: Version
    last: Version
    why: str


@dataclass(frozen=True)
class Hint:
    """What a message of QEMU or of a helper means in this backend, and what to do about it."""

    pattern: str
    meaning: str
    advice: str


@dataclass(frozen=True)
class Backend:
    """Everything the collection knows of one kind of storage."""

    name: str
    summary: str
    options: tuple[Option, ...]
    driver: str
    writable: bool
    node: Callable[[Values, Wiring], Node]
    """The protocol node, without node-name, cache and read-only: those belong to the disk."""
    sample: Values
    """Values that fit the schema: the probe offers their node to QEMU."""
    describe: Callable[[Values], str]
    """The storage in a few words, for people: never a secret in it."""
    identity: Callable[[Values], str]
    """Equal for two declarations of the same bytes, whatever their spelling."""
    reach: Callable[[Values], Reach]
    schemes: tuple[str, ...]
    read_uri: Callable[[str], dict[str, Any]]
    packages: Mapping[str, tuple[str, ...]]
    """Packages by OS family that the driver route needs beside QEMU itself."""
    programs: tuple[str, ...] = ()
    """Programs on the host that the driver route needs beside QEMU itself."""
    check: Callable[[Values], None] = lambda values: None
    """Raises DeclarationError for what a table of options cannot say."""
    nbdkit: NbdkitServe | None = None
    nbdkit_parts: tuple[str, ...] = ()
    """nbdkit's plugin, and then the filters, with which it serves the backend."""
    driver_only: tuple[str, ...] = ()
    """Options that have no effect on other routes than QEMU's own driver."""
    sizeable: bool = False
    """Whether its images are files on the host, which are created and grown there."""
    scsi: bool = False
    """Whether a guest can speak SCSI to the device itself."""
    routes: tuple[str, ...] = ("driver",)
    """In the order in which ``auto`` tries them."""
    flaws: tuple[Flaw, ...] = ()
    unhandled: Mapping[str, str] = field(default_factory=dict)
    """Members of QEMU's driver that are left out on purpose, with the reason."""
    hints: tuple[Hint, ...] = ()


def members(options: tuple[Option, ...], values: Values, wiring: Wiring) -> Node:
    """The QAPI members of the declared values; a secret becomes a reference to its object."""
    node: Node = {}
    for option in options:
        if not option.qemu or option.name not in values:
            continue
        value = values[option.name]
        if option.secret:
            node[f"{option.qemu}-secret"] = wiring.secret(option.name, value)
        else:
            node[option.qemu] = value
    return node


def handled_members(options: tuple[Option, ...]) -> set[str]:
    """Names of the QAPI members that a table of options can produce."""
    return {f"{option.qemu}-secret" if option.secret else option.qemu for option in options if option.qemu}


def check_mountable(option: str, path: str) -> None:
    """Refuse a path that a unit cannot mount: systemd 257 loses quotes and backslashes on the way to its executor."""
    if set("'\"\\") & set(path):
        raise DeclarationError(
            option, f"{path} has a quote or a backslash in it, which systemd cannot mount; rename it"
        )
