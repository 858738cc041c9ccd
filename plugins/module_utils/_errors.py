# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The errors of the collection: each says what failed, on what, and what to do next."""

from __future__ import annotations

from collections.abc import Iterable

from ansible_collections.directdisk.qemu.plugins.module_utils._printable import printable_lines


class DirectDiskError(Exception):
    """Base of every error that the collection raises on purpose."""

    def __str__(self) -> str:
        """The message as people may see it: there may be words of a guest, a server or a process in it."""
        return printable_lines(super().__str__())


class DeclarationError(DirectDiskError):
    """A declaration cannot be carried out as written."""

    def __init__(self, where: str, problem: str) -> None:
        self.where = where
        self.problem = problem
        super().__init__(f"{where}: {problem}" if where else problem)

    def __reduce__(self) -> tuple[type[DeclarationError], tuple[str, str]]:
        return type(self), (self.where, self.problem)

    def within(self, outer: str) -> DeclarationError:
        """The same error, seen from one level further out; one that begins there already stays as it is."""
        if self.where == outer:
            return self
        return DeclarationError(f"{outer}: {self.where}" if self.where else outer, self.problem)


class CapabilityError(DeclarationError):
    """The declaration is right, but this host cannot carry it out."""


class HostError(DirectDiskError):
    """Something on the host did not do what it was asked to do."""


class AlreadyExistsError(HostError):
    """A file exists at the place where another one is to be put."""


class QmpError(HostError):
    """QEMU refused a QMP command, or its monitor could not be reached."""


class StorageError(QmpError):
    """The storage of a disk did not do what it was asked to do: which one, what it means, what to do next."""


class MadeMeanwhileError(StorageError):
    """Another host made the image while this one was making it: theirs stays, and it is observed again."""

    def __init__(self, described: str) -> None:
        super().__init__(f"{described}: another host has just made it; run this again")


class Collected(DirectDiskError):
    """Several independent errors, reported together so that one run shows all of them."""

    def __init__(self, errors: Iterable[DirectDiskError]) -> None:
        self.errors = list(errors)
        super().__init__("\n".join(str(error) for error in self.errors))
