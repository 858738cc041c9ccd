# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small model of how systemd reads a unit file, enough to prove the quoting.

It follows systemd.syntax(7) and systemd.service(5), "Command lines": continuation lines, quotes, C-style escapes,
specifiers (%), variables ($) and the prefixes of a command.
"""

from __future__ import annotations

import re

_ESCAPES = {"n": "\n", "t": "\t", "\\": "\\", '"': '"', "'": "'", "s": " "}


def settings(text: str) -> list[tuple[str, str]]:
    """The assignments of a unit file in their order, continuation lines joined, comments left out."""
    joined: list[str] = []
    continued = False
    for line in text.split("\n"):
        if line.startswith(("#", ";")):
            continue
        if continued:
            joined[-1] += " " + line.removesuffix("\\")
        else:
            joined.append(line.removesuffix("\\"))
        continued = line.endswith("\\")
    pairs = [line.partition("=") for line in joined if not line.startswith("[")]
    return [(name.strip(), value.strip()) for name, equals, value in pairs if equals]


def values(text: str, name: str) -> list[str]:
    """What a unit file says of one setting, as it stands there."""
    return [value for key, value in settings(text) if key == name]


def words(text: str, *, escapes: bool = True) -> list[str]:
    """Split into words: white space, quotes and, where systemd decodes them, C-style escapes."""
    found: list[str] = []
    word: str | None = None
    quote = ""
    position = 0
    while position < len(text):
        character = text[position]
        position += 1
        if character == "\\":
            following = text[position : position + 1]
            if not following or (escapes and following not in _ESCAPES):
                raise ValueError(f"unknown escape sequence \\{following}")
            word = (word or "") + (_ESCAPES[following] if escapes else following)
            position += 1
        elif quote:
            if character == quote:
                quote = ""
            else:
                word = (word or "") + character
        elif character in "'\"":
            quote, word = character, word or ""
        elif character in " \t\n\r":
            if word is not None:
                found.append(word)
            word = None
        else:
            word = (word or "") + character
    if quote:
        raise ValueError(f"unbalanced quote {quote}")
    return found if word is None else [*found, word]


def expand(word: str, *, variables: bool) -> str:
    """Decode doubled % and $; a single one would be replaced by something else, which is what must not happen."""
    for character in "%$" if variables else "%":
        pairs_gone = word.replace(character * 2, "")
        if character in pairs_gone:
            raise ValueError(f"{word!r}: systemd replaces what follows {character}")
        word = word.replace(character * 2, character)
    return word


def exec_words(text: str) -> dict[str, list[list[str]]]:
    """The command lines of each Exec setting, as the processes get them."""
    commands: dict[str, list[list[str]]] = {}
    for name, value in settings(text):
        if name.startswith("Exec"):
            bare = re.sub("^[-+]*", "", value)
            commands.setdefault(name, []).append([expand(word, variables=True) for word in words(bare)])
    return commands


def unescaped(text: str) -> str:
    """The text of SetCredential=: C's escapes alone, neither quotes nor specifiers (seen with 252 and 257)."""
    return re.sub(r"\\(.)", lambda match: _ESCAPES[match[1]], text)
