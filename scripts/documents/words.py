# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Words and tables for options, as the documents and the schema show them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Callable

from ansible_collections.directdisk.qemu.plugins.module_utils._options.option import Option, Version
from ansible_collections.directdisk.qemu.plugins.module_utils._options.read import in_words

TYPE_WORDS = {"str": "text", "int": "number", "bool": "true or false", "dict": "options", "hex": "hexadecimal text"}
"""Types of options in words; the others are words already."""


def markdown(text: str) -> str:
    """Markdown for Ansible's markup: O(), V(), C() and their like become code."""

    def code(match: re.Match[str]) -> str:
        kind, words = match.groups()
        words = re.sub(r"#\w+$", "", words) if kind == "P" else words
        return f"`{words.replace('=', ': ', 1) if kind == 'O' else words}`"

    return re.sub(r"\b(O|V|C|E|M|P|RV)\(([^()]*)\)", code, text)


def without_options(text: str) -> str:
    """The same markup where what O() names is no option of its own, as in a role's description."""
    return re.sub(r"\bO\(", "C(", text)


def table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; a column that is empty in every row is left out."""
    filled = [[cell.replace("|", r"\|") for cell in row] for row in rows]
    used = [index for index in range(len(titles)) if any(row[index] for row in filled)]
    lines = [[titles[index] for index in used], ["---"] * len(used)]
    lines += [[row[index] for index in used] for row in filled]
    return "\n".join("".join(f"| {cell} " if cell else "| " for cell in line) + "|" for line in lines)


def code_list(words: Iterable[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)


def release(version: Version) -> str:
    return f"{version[0]}.{version[1]}"


def size_words(size: int) -> str:
    """A size as a person declares it."""
    return in_words(size).removesuffix(" bytes").replace(" ", "")


def type_words(option: Option) -> str:
    words = [f"list of {TYPE_WORDS.get(option.elements or 'str', option.elements)}"]
    words = words if option.type == "list" else [option.holds or TYPE_WORDS.get(option.type, option.type)]
    show: Callable[[int], str] = size_words if option.type == "size" else str
    if option.minimum is not None and option.maximum is not None:
        words.append(f"{show(option.minimum)} to {show(option.maximum)}")
    elif option.minimum is not None:
        words.append(f"{show(option.minimum)} or more")
    elif option.maximum is not None:
        words.append(f"{show(option.maximum)} at most")
    return ", ".join([*words, "secret"] if option.secret else words)


def default_words(option: Option) -> str:
    if option.default is None:
        return ""
    if option.type == "bool":
        return "true" if option.default else "false"
    if option.type == "list":
        return ", ".join(map(str, option.default))
    return size_words(option.default) if option.type == "size" else str(option.default)


def option_row(option: Option) -> list[str]:
    default = default_words(option)
    aliases = f" Also spelled {code_list(option.aliases)}." if option.aliases else ""
    routes = f" For route {code_list(option.routes)} only, which `auto` then takes." if option.routes else ""
    since = [release(option.since)] if option.since else []
    since += [f"`{choice}`: {release(version)}" for choice, version in option.choices_since.items()]
    return [
        f"`{option.name}`",
        type_words(option),
        "**required**" if option.required else code_list([default] if default else []),
        code_list(option.choices),
        markdown(option.summary) + routes + aliases,
        ", ".join(since),
    ]


def option_tables(options: Sequence[Option]) -> str:
    """A table of options, and one more for each set of options that stands inside some of them."""
    titles = ("option", "type", "default", "choices", "meaning", "QEMU from")
    texts = [table(titles, map(option_row, options))]
    inside: dict[int, list[Option]] = {}
    for option in options:
        if option.options:
            inside.setdefault(id(option.options), []).append(option)
    for group in inside.values():
        texts += [f"Inside {' and '.join(f'`{option.name}`' for option in group)}:", option_tables(group[0].options)]
    return "\n\n".join(texts)
