# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Text of guests, servers and processes on its way to a person: what would steer a terminal is escaped. Pure."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Any

_HIDDEN = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Categories of Unicode that are not seen and act: control characters, marks of direction, surrogates, line ends."""


def printable(text: str) -> str:
    """One line as a person may see it; a tab stays."""
    if text.isprintable():
        return text
    return "".join(_escaped(char) if unicodedata.category(char) in _HIDDEN and char != "\t" else char for char in text)


def printable_lines(text: str) -> str:
    """A message of several lines; one that somebody else wrote has to pass printable() before it is put into one."""
    return text if text.isprintable() else "\n".join(map(printable, text.split("\n")))


def printable_data(value: Any) -> Any:
    """Every text in plain data, the names of its members, too."""
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
