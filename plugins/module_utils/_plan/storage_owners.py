# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Questions to storage about who has it open, their answers, and storage that is taken from its owners. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict


class FileSource(TypedDict, total=False):
    """The origin of a file's content; exactly one of these."""

    secret: str
    """Path of a credential at rest."""
    source: str
    """Path of a file on the host."""
    text: str


class OwnerQuestion(TypedDict):
    """A question about one disk to the programs that ask storage for its owner."""

    identity: str
    check: dict[str, Any]
    """The program's own input."""
    files: dict[str, FileSource]
    joins: Mapping[str, Sequence[str]]
    """Files that are the concatenation of others."""


class StorageOwner(TypedDict):
    """A client that has storage open."""

    name: str
    here: bool
    """If it is at an address of the host that asked."""
    address: str
    """Its address; empty if the storage does not know it."""
    take: dict[str, Any] | None
    """Input of the program that takes the storage from it; None if it cannot be taken from."""
    action: str
    """Description of how it is taken from."""


class StorageOwners(TypedDict):
    """The owners of storage, by the identity of the storage."""

    in_use: dict[str, str]
    """A description of the owner."""
    owners: dict[str, list[StorageOwner]]
    not_asked: dict[str, str]
    """The reason why the owner is not known."""


class Takeover(TypedDict):
    """Storage that is taken from other clients before its VM starts."""

    disk: str
    """DISK of VM, with its storage, for messages."""
    actions: list[str]
    """The lines about it among the actions."""
    question: OwnerQuestion
    take: list[dict[str, Any] | None]
    """The members take of its owners, as they were observed."""
