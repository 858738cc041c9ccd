# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the command lines of a foreign unit file (systemd.service(5), "Command lines"). Pure."""

from __future__ import annotations

import re

from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError

_START = re.compile(r"^[ \t]*ExecStart[ \t]*=[ \t]*([-@:+!|]*)([^\n]*)$", re.MULTILINE)
_WORD = re.compile(r"""((?:[^\s"'\\]+|\\.|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')+)\s*""", re.DOTALL)
_PIECE = re.compile(r"""\\(?:x([0-9a-fA-F]{2})|(.))|(["'])""", re.DOTALL)
_ESCAPES = {**dict(zip("abfnrtvs", "\a\b\f\n\r\t\v ")), "\\": "\\", '"': '"', "'": "'"}
_FILLED_IN = {"%": "a specifier", "$": "a variable"}


def start_commands(text: str) -> list[list[str]]:
    """Return the words of each ExecStart=, without those that an empty one resets."""
    text = re.sub(r"\\\n(?:[ \t]*[#;][^\n]*\n)*", " ", text)
    commands: list[list[str]] = []
    for prefix, command in _START.findall(text):
        if not command.strip():
            commands.clear()
            continue
        words = _words(command.strip(), "%" if ":" in prefix else "%$")
        commands.append([words[0], *words[2:]] if "@" in prefix else words)
    return commands


def _words(command: str, marks: str) -> list[str]:
    result = []
    position = 0
    while position < len(command):
        match = _WORD.match(command, position)
        if not match:
            raise DeclarationError("ExecStart", "has a quote without its end")
        position = match.end()
        result.append(_filled(_unquoted(match[1]), marks))
    return result


def _unquoted(word: str) -> str:
    """Remove quotes and resolve escapes."""
    within = ""

    def piece(match: re.Match[str]) -> str:
        nonlocal within
        code, escaped, quote = match.groups()
        if code:
            return chr(int(code, 16))
        if escaped:
            if escaped not in _ESCAPES:
                raise DeclarationError("ExecStart", f"has the escape \\{escaped}, which is not read here")
            return _ESCAPES[escaped]
        if within not in ("", quote):
            return str(quote)
        within = "" if within else quote
        return ""

    return _PIECE.sub(piece, word)


def _filled(word: str, marks: str) -> str:
    for mark in marks:
        if mark in word.replace(mark * 2, ""):
            raise DeclarationError("ExecStart", f"has {_FILLED_IN[mark]} of systemd ({mark}), whose value is not known")
        word = word.replace(mark * 2, mark)
    return word
