# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parses QEMU's option syntaxes: key=value with doubled commas, dotted keys, JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError

LONGEST = 128 * 1024
"""Maximum length of an argument in Linux (MAX_ARG_STRLEN)."""
DEEPEST = 16
_CLIP = 60

_PAIR = re.compile(r"((?:[^,]+|,,)*)(?:,|\Z)", re.DOTALL)
Pairs = list[tuple[str, str]]


def shown(text: object) -> str:
    """Quote a piece of the input for a message."""
    words = str(text)
    return repr(words if len(words) <= _CLIP else f"{words[:_CLIP]}...")


def check_length(text: str, where: str) -> None:
    try:
        length = len(text.encode())
    except UnicodeEncodeError:
        raise DeclarationError(where, "has bytes in it that are no text (UTF-8)") from None
    if length > LONGEST:
        raise DeclarationError(where, f"has {length} bytes, and Linux takes no argument longer than {LONGEST}")


def read_pairs(text: str, where: str, *, implied: str = "", switches: tuple[str, ...] | None = None) -> Pairs:
    """Return the pairs of ``key=value,...``.

    implied: the key of a first value that has none; switches: the words that may stand alone, any of them without it.
    """
    check_length(text, where)
    pairs: Pairs = []
    position = 0
    while position < len(text):
        match = _PAIR.match(text, position)
        if not match or match.end() == position:
            break
        position = match.end()
        key, equals, value = match[1].partition("=")
        if equals and key and ",," not in key:
            pairs.append((key, value.replace(",,", ",")))
        elif not pairs and implied:
            pairs.append((implied, match[1].replace(",,", ",")))
        elif not equals and (re.fullmatch("[A-Za-z][A-Za-z0-9_.-]*", key) if switches is None else key in switches):
            pairs.append((key, "on"))
        else:
            _refuse_piece(where, match[1])
    return pairs


def _refuse_piece(where: str, piece: str) -> NoReturn:
    name = piece.partition("=")[0]
    raise DeclarationError(where, f"{shown(name)} is not KEY=VALUE; a comma within a value is written twice")


def unique(pairs: Iterable[tuple[str, str]], where: str) -> dict[str, str]:
    """Return the same as a dict; refuse duplicate keys, of which QEMU would silently use the last."""
    result: dict[str, str] = {}
    for key, value in pairs:
        if result.get(key, value) != value:
            raise DeclarationError(where, f"{shown(key)} is set twice, with two values")
        result[key] = value
    return result


def nested(flat: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Nest dotted keys; ``server.0.host`` becomes a list."""
    tree: dict[str, Any] = {}
    for key, value in flat.items():
        *path, last = key.split(".")
        if len(path) >= DEEPEST:
            raise DeclarationError(where, f"{shown(key)} is nested too deep")
        inner = tree
        for part in path:
            inner = inner.setdefault(part, {})
            if not isinstance(inner, dict):
                raise DeclarationError(where, f"{shown(key)} and {shown(part)} are both given")
        if last in inner:
            raise DeclarationError(where, f"{shown(key)} is set twice, also by keys within it")
        inner[last] = nested(value, where) if isinstance(value, Mapping) else value
    result = {key: _with_lists(value, where) for key, value in tree.items()}
    return result


def _with_lists(value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        return value
    items = {key: _with_lists(inner, where) for key, inner in value.items()}
    if not items or not all(re.fullmatch("[0-9]{1,4}", key) for key in items):
        return items
    numbered = sorted((int(key), inner) for key, inner in items.items())
    if [number for number, _inner in numbered] != list(range(len(numbered))):
        raise DeclarationError(where, "the numbers of a list do not count up from 0")
    return [inner for _number, inner in numbered]


def read_json(text: str, where: str) -> dict[str, Any]:
    """Parse a JSON object; refuse duplicate keys."""
    check_length(text, where)

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key, value in pairs:
            if key in result:
                raise DeclarationError(where, f"{shown(key)} is set twice")
            result[key] = value
        return result

    try:
        value = json.loads(text, object_pairs_hook=once)
        _check_depth(value, where, DEEPEST)
        check_length(json.dumps(value, ensure_ascii=False), where)
    except (ValueError, RecursionError) as error:
        # Python's own words may repeat a password.
        place = f" at character {error.pos}" if isinstance(error, json.JSONDecodeError) else ""
        raise DeclarationError(where, f"is not valid JSON{place}") from None
    if not isinstance(value, dict):
        raise DeclarationError(where, "is JSON, but no object")
    return value


def _check_depth(value: Any, where: str, left: int) -> None:
    if left == 0:
        raise DeclarationError(where, "is nested too deep")
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _check_depth(inner, where, left - 1)


def switch(value: Any, where: str) -> bool:
    """Parse on or off, in any of QEMU's spellings."""
    words = {"on": True, "true": True, "yes": True, "y": True, "off": False, "false": False, "no": False, "n": False}
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value in words:
        return words[value]
    raise DeclarationError(where, f"{shown(value)} is neither on nor off")
