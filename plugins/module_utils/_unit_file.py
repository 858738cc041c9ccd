# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line in a unit file that somebody else wrote (systemd.service(5), "Command lines"). Pure."""

from __future__ import annotations

import re

from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError

_WORD = re.compile(r"""((?:[^\s"'\\]+|\\.|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')+)\s*""", re.DOTALL)
_QUOTED = re.compile(r"""\\(.)|"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)'""", re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t", "s": " "}


def start_command(text: str) -> list[str]:
    """The words of ExecStart=; none where there is none or several."""
    joined = re.sub(r"\\\n(?:[#;][^\n]*\n)*", " ", text)
    commands = [match[1].strip() for match in re.finditer(r"^ExecStart=([^\n]*)$", joined, re.MULTILINE)]
    commands = [command for command in commands if command]
    return words(commands[0].lstrip("-@:+!")) if len(commands) == 1 else []


def words(command: str) -> list[str]:
    """Split and unquoted; what systemd would fill in is refused."""
    found = []
    position = 0
    while position < len(command):
        match = _WORD.match(command, position)
        if not match:
            raise DeclarationError("ExecStart", "has a quote without its end")
        position = match.end()
        found.append(_filled(_QUOTED.sub(_unquoted, match[1])))
    return found


def _unquoted(match: re.Match[str]) -> str:
    if match[1] is not None:
        return _ESCAPES.get(match[1], match[1])
    inner = match[2] if match[2] is not None else match[3]
    return re.sub(r"\\(.)", lambda escape: _ESCAPES.get(escape[1], escape[1]), inner, flags=re.DOTALL)


def _filled(word: str) -> str:
    for mark, what in (("%", "a specifier"), ("$", "a variable")):
        if mark in word.replace(mark * 2, ""):
            raise DeclarationError("ExecStart", f"has {what} of systemd ({mark}); its value is not known here")
        word = word.replace(mark * 2, mark)
    return word
