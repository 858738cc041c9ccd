# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Escapes text of guests, servers and processes so that it cannot control a terminal. Pure."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
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
