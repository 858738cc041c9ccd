# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds disks that are the same storage, with the names that a host resolved. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypedDict

from ansible_collections.directdisk.qemu.plugins.module_utils._backends import uris
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk

Resolved = Mapping[str, Sequence[str]]
"""Addresses by server name, and devices or files by path on the host; unknown ones are missing."""
WITHIN = "within:"
"""Begins a device of which the named one is a part: it has the same bytes and more."""


@dataclass(frozen=True)
class Identities:
    """The identities of one disk's storage."""

    certain: frozenset[str]
    """As declared, and at each address of its servers."""
    possible: frozenset[str]
    """Identities that a declaration with fewer options may give the same bytes."""

    def same(self, other: Identities) -> bool:
        """Return True if both are or may be the same bytes."""
        return bool(self.certain & (other.certain | other.possible) or self.possible & other.certain)


class Spellings(TypedDict):
    """Other identities of the same storage, for declarations that name it differently."""

    alike: list[str]
    """Identities of declarations with fewer options, which may mean other storage, too."""
    names: dict[str, str]
    """By the name of a server, the identity with ANY_SERVER in its place."""


ANY_SERVER = "\0"


def names_in(disk: Disk) -> list[str]:
    """Return the server names and paths of a disk that a host can resolve."""
    found: list[str] = []

    def remember(name: str) -> str:
        found.append(name)
        return name

    _renamed(disk, remember)
    return [name for name in found if not uris.is_literal(name)]


def spellings(disk: Disk) -> Spellings:
    """Return the other identities of a disk's storage, as far as they can be told without resolving a name."""
    alike = sorted({*disk.backend.source.other_identities(disk.source)} - {disk.identity})
    servers = [name for name in names_in(disk) if not name.startswith("/")]
    anywhere = {name: _renamed_identity(disk, partial(_any_server, name)) for name in servers}
    return {"alike": alike, "names": {name: text for name, text in anywhere.items() if ANY_SERVER in text}}


def _any_server(name: str, other: str) -> str:
    return ANY_SERVER if other == name else other


def at_addresses(known: Spellings, resolved: Resolved) -> list[str]:
    """Return the identities of storage at each address of its servers."""
    return sorted(
        text.replace(ANY_SERVER, uris.same_host(address))
        for name, text in known["names"].items()
        for address in resolved.get(name, ())
    )


def identities_of(identity: str, known: Spellings | None, resolved: Resolved) -> Identities:
    """Return all identities of storage that is open; known: its other names, as its unit lists them."""
    if known is None:
        return Identities(frozenset({identity}), frozenset())
    return Identities(frozenset({identity, *at_addresses(known, resolved)}), frozenset(known["alike"]))


def identities(disk: Disk, resolved: Resolved) -> Identities:
    """Return all identities of a disk, with the names that its host resolved."""
    known = {name: resolved.get(name, ()) for name in names_in(disk)} if resolved else {}
    itself = {name: [one for one in places if not one.startswith(WITHIN)] for name, places in known.items()}
    larger = {name: [one[len(WITHIN) :] for one in places if one.startswith(WITHIN)] for name, places in known.items()}
    variants = [disk, *_at_each_address(disk, itself)]
    possible = {identity for one in variants for identity in one.backend.source.other_identities(one.source)}
    return Identities(
        frozenset(one.identity for one in variants),
        frozenset(possible | {one.identity for one in _at_each_address(disk, larger)}),
    )


def _at_each_address(disk: Disk, resolved: Resolved) -> Iterator[Disk]:
    most = max(map(len, resolved.values()), default=0)
    for number in range(most):
        yield _renamed(disk, partial(_one_of, resolved, number))


def _one_of(resolved: Resolved, number: int, name: str) -> str:
    addresses = resolved.get(name)
    return addresses[min(number, len(addresses) - 1)] if addresses else name


def _renamed(disk: Disk, rename: Callable[[str], str]) -> Disk:
    return disk.at(disk.backend.source.relocate(disk.source, rename))


def _renamed_identity(disk: Disk, rename: Callable[[str], str]) -> str:
    # Without a Disk, of which a fleet would need another one for each.
    storage = disk.backend.source
    return storage.identity(storage.relocate(disk.source, rename))


def doubts(disks: Iterable[tuple[str, Disk]], resolved: Resolved) -> list[tuple[str, str]]:
    """Return disks that may be the same as another one, if one of the two is written, with the reason.

    disks: each with how messages name it.
    """
    found: list[tuple[str, str]] = []
    first: dict[str, tuple[str, Disk]] = {}
    for where, disk in disks:
        for key, other_key, why in _doubtful(disk, resolved):
            first.setdefault(key, (where, disk))
            other, its = first.get(other_key, (where, disk))
            if its is disk or "keep" not in (disk.writes, its.writes):
                continue
            if not identities(disk, resolved).same(identities(its, resolved)):
                found.append((where, f"may be the same storage as {other} ({its.described}): {why}"))
    return found


def _doubtful(disk: Disk, resolved: Resolved) -> Iterator[tuple[str, str, str]]:
    """Yield keys that possibly identical disks have in common: the disk's, the other's, and the reason."""
    yield from ((maybe, maybe, why) for maybe, why in disk.backend.source.possible_identities(disk.source))
    names: list[str] = []

    def nameless(name: str) -> str:
        names.append(name)
        return name if name.startswith("/") else "?"

    anywhere = _renamed_identity(disk, nameless)
    servers = {"name", "address"} if anywhere != disk.identity else set[str]()
    unknown = [
        name for name in names if not uris.is_literal(name) and not name.startswith("/") and not resolved.get(name)
    ]
    own = "name" if unknown else "address"
    for other in servers - {own}:
        yield (
            f"{own}:{anywhere}",
            f"{other}:{anywhere}",
            "one is given by a name that is not resolved, one by an address",
        )
