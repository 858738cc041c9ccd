# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The errors of the collection: what failed, on what, and what to do next. Pure.

Text of guests, servers and processes in messages is escaped, so that it cannot control a terminal.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

_HIDDEN = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Unicode categories of invisible characters: control and format characters, surrogates, line separators."""


def printable(text: str) -> str:
    """Escape one line; a tab stays."""
    if text.isprintable():
        return text
    return "".join(_escaped(char) if unicodedata.category(char) in _HIDDEN and char != "\t" else char for char in text)


def printable_lines(text: str) -> str:
    """Escape a message of several lines. Foreign text must pass printable() before it is put into such a message."""
    return text if text.isprintable() else "\n".join(map(printable, text.split("\n")))


def printable_data(value: Any) -> Any:
    """Escape all text in plain data, including keys."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, Mapping):
        return {printable_data(key): printable_data(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [printable_data(inner) for inner in value]
    return value


def _escaped(char: str) -> str:
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


class DirectDiskError(Exception):
    """Base of every error that the collection raises on purpose."""

    def __str__(self) -> str:
        """Return the message with control characters escaped: it may repeat text of a guest, a server or a process."""
        return printable_lines(super().__str__())


class DeclarationError(DirectDiskError):
    """A declaration is wrong or cannot be applied as written."""

    def __init__(self, where: str, problem: str) -> None:
        self.where = where
        self.problem = problem
        super().__init__(f"{where}: {problem}" if where else problem)

    def __reduce__(self) -> tuple[type[DeclarationError], tuple[str, str]]:
        return type(self), (self.where, self.problem)

    def within(self, outer: str) -> DeclarationError:
        """Return the error with an outer place in front, unless its place is that one already."""
        if self.where == outer:
            return self
        return DeclarationError(f"{outer}: {self.where}" if self.where else outer, self.problem)


class CapabilityError(DeclarationError):
    """The declaration is valid, but this host lacks something for it."""


class HostError(DirectDiskError):
    """An operation on the host failed."""


class AlreadyExistsError(HostError):
    """The file to create exists already."""


class QmpError(HostError):
    """QEMU refused a QMP command, or its monitor could not be reached."""


class GuestAgentError(HostError):
    """A guest agent does not answer, or refused a command."""


class StorageError(QmpError):
    """An operation on the storage of a disk failed."""


class MadeMeanwhileError(StorageError):
    """Another host created the image at the same time: its image is kept and must be observed again."""

    def __init__(self, described: str) -> None:
        super().__init__(f"{described}: another host created it meanwhile; run this again")


class Collected(DirectDiskError):
    """Several independent errors, reported together so that one run shows all of them."""

    def __init__(self, errors: Iterable[DirectDiskError]) -> None:
        self.errors = list(errors)
        super().__init__("\n".join(str(error) for error in self.errors))
