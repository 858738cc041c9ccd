# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which disks are the same storage, given what a host knows of the names in their declarations. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from ansible_collections.directdisk.qemu.plugins.module_utils._backends import uris
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk

Resolved = Mapping[str, Sequence[str]]
"""By name of a server its addresses, and by path on the host what is behind it; nothing for what is not known."""


@dataclass(frozen=True)
class Identities:
    """What the bytes of one disk are called."""

    certain: frozenset[str]
    """As it is declared, and at each address of its servers."""
    possible: frozenset[str]
    """What the same bytes may be called where a declaration says less."""

    def same(self, other: Identities) -> bool:
        """If both are, or may be, the same bytes."""
        return bool(self.certain & (other.certain | other.possible) or self.possible & other.certain)


def names_in(disk: Disk) -> list[str]:
    """The servers' names and the paths of a disk that a host can resolve."""
    found: list[str] = []

    def remember(name: str) -> str:
        found.append(name)
        return name

    _renamed(disk, remember)
    return [name for name in found if not uris.is_literal(name)]


def identities(disk: Disk, resolved: Resolved) -> Identities:
    """All that a disk is called, given what its host resolves."""
    variants = [disk, *_at_each_address(disk, resolved)]
    return Identities(
        frozenset(one.identity for one in variants),
        frozenset(identity for one in variants for identity in one.backend.source.other_identities(one.source)),
    )


def _at_each_address(disk: Disk, resolved: Resolved) -> Iterator[Disk]:
    most = max((len(resolved.get(name, ())) for name in names_in(disk)), default=0)
    for number in range(most):
        yield _renamed(disk, partial(_one_of, resolved, number))


def _one_of(resolved: Resolved, number: int, name: str) -> str:
    addresses = resolved.get(name)
    return addresses[min(number, len(addresses) - 1)] if addresses else name


def _renamed(disk: Disk, rename: Callable[[str], str]) -> Disk:
    return disk.at(disk.backend.source.relocate(disk.source, rename))


def doubts(disks: Iterable[tuple[str, Disk]], resolved: Resolved) -> list[tuple[str, str]]:
    """Disks that may be the same as another, which nobody can tell, and one of the two is written; with the reason.

    disks: each with how messages name it.
    """
    found: list[tuple[str, str]] = []
    first: dict[str, tuple[str, Disk, Identities]] = {}
    for where, disk in disks:
        own = identities(disk, resolved)
        for key, other_key, why in _doubtful(disk, resolved):
            first.setdefault(key, (where, disk, own))
            other, its, theirs = first.get(other_key, (where, disk, own))
            if its is not disk and not own.same(theirs) and "keep" in (disk.writes, its.writes):
                found.append((where, f"may be the same storage as {other} ({its.described}): {why}"))
    return found


def _doubtful(disk: Disk, resolved: Resolved) -> Iterator[tuple[str, str, str]]:
    """What a disk has in common with others of which nobody can tell, what those have, and why that is so."""
    yield from ((maybe, maybe, why) for maybe, why in disk.backend.source.possible_identities(disk.source))
    anywhere = _renamed(disk, lambda name: name if name.startswith("/") else "?").identity
    servers = {"name", "address"} if anywhere != disk.identity else set[str]()
    unknown = [name for name in names_in(disk) if not name.startswith("/") and not resolved.get(name)]
    own = "name" if unknown else "address"
    for other in servers - {own}:
        yield (
            f"{own}:{anywhere}",
            f"{other}:{anywhere}",
            "one is given by a name that is not resolved, one by an address",
        )
