# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The contract that a file under ``_backends/`` fills in. No I/O here, and none there."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Any, Callable

from ansible_collections.directdisk.qemu.plugins.module_utils._backends.command_line_context import (
    CommandLineContext,
    Secret,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.resources import UnitResources
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError
from ansible_collections.directdisk.qemu.plugins.module_utils._options.option import Option, Version

Node = dict[str, Any]
"""One ``-blockdev`` dict, keys as in QEMU's QAPI schema."""

Values = Mapping[str, Any]
"""The options of one disk after reading: right types, no unknown key, only what was declared."""


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
class Hint:
    """What a message of QEMU or of a helper means in this backend, and what to do about it."""

    pattern: str
    meaning: str
    advice: str


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


@dataclass(frozen=True)
class LibvirtSource:
    """What libvirt's ``<source>`` of a network disk says, with what ``<auth>`` adds."""

    name: str
    query: str = ""
    hosts: tuple[Mapping[str, str], ...] = ()
    """Each with ``name`` and ``port``, or with ``socket``."""
    user: str = ""
    secret: Secret | None = None
    parts: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Attributes of the elements within it, such as ``snapshot`` and ``config``."""

    def part(self, element: str, attribute: str) -> str | None:
        return self.parts.get(element, {}).get(attribute)


def no_driver(values: Values, resources: UnitResources) -> Node:
    """For a backend that QEMU has no driver for: its routes do not ask for this node."""
    raise DeclarationError("", "QEMU has no driver for it")


@dataclass(frozen=True)
class Backend:
    """Everything the collection knows of one kind of storage."""

    name: str
    summary: str
    options: tuple[Option, ...]
    driver: str
    """QEMU's block driver; empty where it has none."""
    writable: bool
    node: Callable[[Values, UnitResources], Node]
    """The protocol node, without node-name, cache and read-only: those belong to the disk."""
    sample: Values
    """Values that fit the schema: the probe offers their node to QEMU."""
    describe: Callable[[Values], str]
    """The storage in a few words, for people: never a secret in it."""
    identity: Callable[[Values], str]
    """Equal for two declarations of the same bytes, whatever their spelling."""
    pool: Callable[[Values], str]
    """What the storage keeps the image in, by the backend's own notion: a pool, a volume, a folder, a target."""
    reach: Callable[[Values], Reach]
    schemes: tuple[str, ...]
    read_uri: Callable[[str], dict[str, Any]]
    read_node: Callable[[Node, CommandLineContext], dict[str, Any]]
    """The options that QAPI members say: what node() undoes."""
    read_libvirt: Callable[[LibvirtSource], dict[str, Any]]
    """The options that libvirt's XML says."""
    packages: Mapping[str, tuple[str, ...]]
    """Packages by OS family that the driver route needs beside QEMU itself."""
    programs: tuple[str, ...] = ()
    """Programs on the host that the driver route needs beside QEMU itself."""
    local: Callable[[Values], bool] = lambda values: False
    """Whether the same values mean other bytes on another host."""
    alike: Callable[[Values], tuple[str, ...]] = lambda values: ()
    """Further identities that the same bytes have where a declaration says less, or the same by other servers."""
    located: Callable[[Values, Callable[[str], str]], Values] = lambda values, rename: {
        name: rename(value) if name in ("host", "socket") else value for name, value in values.items()
    }
    """The same storage with each server's name, and each path on the host, replaced by what rename() makes of it."""
    maybe: Callable[[Values], Iterable[tuple[str, str]]] = lambda values: ()
    """What it has in common with storage of which nobody can tell from outside if it is the same, and why."""
    apart: str = ""
    """What to declare where two storages are not the same after all, although their identities are."""
    snapshots: tuple[str, ...] = ()
    """Options that choose an earlier state of an image, not another image."""
    libvirt_parts: tuple[str, ...] = ()
    """The elements within ``<source>`` that read_libvirt() reads."""
    beside_uri: Callable[[dict[str, Any], CommandLineContext], dict[str, Any]] = lambda options, context: {}
    """What another option of the command line says of an image that a URI names."""
    settle: Callable[[dict[str, Any], CommandLineContext], dict[str, Any]] = lambda options, context: options
    """Adds what QEMU takes from its surroundings where a command line does not say it."""
    bindings: tuple[str, ...] = ()
    """The distribution's Python modules with which its images are kept."""
    bindings_packages: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Packages by OS family that bring them."""
    check: Callable[[Values], None] = lambda values: None
    """Raises DeclarationError for what a table of options cannot say."""
    check_disk: Callable[[Values, Values], None] = lambda values, settings: None
    """Raises DeclarationError for options that do not go with the disk's own settings."""
    nbdkit: NbdkitServe | None = None
    nbdkit_parts: tuple[str, ...] = ()
    """nbdkit's plugin, and then the filters, with which it serves the backend."""
    stage: Callable[[Values], Download] | None = None
    tgt: Callable[[Values], TgtStore] | None = None
    tgt_packages: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Packages by OS family with which tgtd serves this storage."""
    tgt_module: str = ""
    """File name of the module that tgtd loads for it; empty where it is built in."""
    driver_only: tuple[str, ...] = ()
    """Options that have no effect on other routes than QEMU's own driver."""
    read_only: Callable[[Values], str] = lambda values: ""
    """Why these values cannot be written; empty where they can."""
    sizeable: bool = False
    """Whether its images can be created and grown: the size of others is what their server says."""
    as_root: Mapping[str, int] = field(default_factory=dict)
    """QAPI members with which a module asks as this host's root where a declaration names no user."""
    lingers: bool = False
    """Whether QEMU takes seconds to close one, and may crash over it: what has opened one opens nothing else."""
    owner: Callable[[Values, UnitResources, str], OwnerCheck] | None = None
    """Who has the storage open, for a VM with the UUID that is given; None where the storage cannot tell."""
    lifecycle: str = "image"
    """How its images are kept: the name of a file under ``_images/``."""
    scsi: bool = False
    """Whether a guest can speak SCSI to the device itself."""
    routes: tuple[str, ...] = ("driver",)
    """In the order in which ``auto`` tries them."""
    driver_until: Version | None = None
    """First QEMU that has the driver no more."""
    unfit: Callable[[str, Values], str] = lambda route, values: ""
    """Why a route cannot serve these values, where it is no option's ``routes`` that says so; empty where it can."""
    flaws: tuple[Flaw, ...] = ()
    unhandled: Mapping[str, str] = field(default_factory=dict)
    """Members of QEMU's driver that are left out on purpose, with the reason."""
    hints: tuple[Hint, ...] = ()


def why_unfit(backend: Backend, route: str, values: Values) -> str:
    """Why a route does not honour what is declared, on whatever host; empty where it does."""
    for option in backend.options:
        if option.routes and route not in option.routes and option.name in values:
            return f"{option.name} is for route {' or '.join(option.routes)}, not for {route}"
    return backend.unfit(route, values)


def routes_for(backend: Backend, values: Values) -> tuple[str, ...]:
    """The routes to a backend that honour what is declared, in the order in which ``auto`` tries them."""
    return tuple(route for route in backend.routes if not why_unfit(backend, route, values))


def members(options: tuple[Option, ...], values: Values, resources: UnitResources) -> Node:
    """The QAPI members of the declared values; a secret becomes a reference to its object."""
    node: Node = {}
    for option in options:
        if not option.qemu or option.name not in values:
            continue
        value = values[option.name]
        if option.secret:
            node[f"{option.qemu}-secret"] = resources.secret(option.name, value)
        else:
            node[option.qemu] = list(value) if isinstance(value, tuple) else value
    return node


def read_members(
    options: tuple[Option, ...], node: Node, context: CommandLineContext, unhandled: Mapping[str, str], *own: str
) -> dict[str, Any]:
    """The options that QAPI members say, but for those that a backend reads on its ``own``; others are refused."""
    by_member = {option.qemu: option for option in options if option.qemu}
    found: dict[str, Any] = {}
    for member, value in node.items():
        option = by_member.get(member.removesuffix("-secret") if member not in by_member else member)
        if member in own:
            continue
        if option is None or (option.qemu != member and not option.secret):
            why = f"is not carried over: {unhandled[member]}" if member in unhandled else "is no option of the driver"
            raise DeclarationError(member, why)
        if option.name in found:
            raise DeclarationError(member, f"{option.name} is given twice")
        found[option.name] = as_declared(option, value)
        if option.secret:
            clear = Secret(f"the option {member}", str(value), option.like)
            found[option.name] = clear if option.qemu == member else context.secret(value, option.like)
    return found


def as_declared(option: Option, value: Any) -> Any:
    """Numbers and truth values as such: on a command line they are text. What is none of them is refused later."""
    if option.type in ("int", "size") and isinstance(value, str) and re.fullmatch("[0-9]{1,18}", value):
        return int(value)
    words = {"on": True, "yes": True, "off": False, "no": False}
    return words.get(value, value) if option.type == "bool" and isinstance(value, str) else value


def no_node(node: Node, context: CommandLineContext) -> dict[str, Any]:
    """For a backend that QEMU has no driver for."""
    raise DeclarationError("", "QEMU has no driver for it")


def no_libvirt(source: LibvirtSource) -> dict[str, Any]:
    """For a backend that is no network disk."""
    raise DeclarationError("", "is no network disk")


def with_secrets(options: tuple[Option, ...], said: Mapping[str, Any], found: str) -> dict[str, Any]:
    """Options as they were said, each secret in a cover of its own; found: where they stand."""
    table = {option.name: option for option in options}
    covered = dict(said)
    for name, value in said.items():
        if name in table and table[name].secret and isinstance(value, str):
            covered[name] = Secret(found, value, table[name].like)
    return covered


def check_networks(networks: Iterable[str]) -> None:
    """Refuse what is no network in CIDR form (a single address is one too)."""
    for network in networks:
        try:
            ip_network(network)
        except ValueError:
            raise DeclarationError("networks", f"{network!r} is not a network such as 192.0.2.0/24") from None


def check_mountable(option: str, path: str) -> None:
    """Refuse a path that a unit cannot mount: systemd 257 loses quotes and backslashes on the way to its executor."""
    if set("'\"\\\t") & set(path):
        raise DeclarationError(
            option, f"{path!r} has a quote, a backslash or a tab in it, which systemd cannot mount; rename it"
        )


def check_loadable(option: str, path: str) -> None:
    """Refuse a path that a unit cannot load a credential from.

    At the end of the line a backslash swallows the next one, and spaces are lost; in the middle systemd 257 loses both.
    """
    if set(" \t\\") & set(path):
        raise DeclarationError(
            option, f"{path!r} has a space, a tab or a backslash in it, which systemd cannot load; rename it"
        )


def check_allowable(option: str, path: str) -> None:
    """Refuse a device that a unit cannot be allowed to use: systemd 257 parts its name at a space."""
    if set(" \t") & set(path):
        raise DeclarationError(option, f"{path!r} has a space or a tab in it, which systemd cannot allow; name a link")
