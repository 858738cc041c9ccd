# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Turns a guide in Markdown into reStructuredText, which is all that antsibull-docs reads.

It knows what the guides use: headings, paragraphs, pictures, lists, tables, code, links and bold text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Callable

LABEL = "ansible_collections.directdisk.qemu.docsite."
"""What every label of a collection's pages begins with."""
_UNDERLINES = "=-~^"
_ITEM = re.compile(r"( *)([-*]|\d+\.) +(?=\S)")
_FENCE = re.compile(r"( *)```(\w*)$")
_HEADING = re.compile(r"(#{1,4}) (.*)")
_IMAGE = re.compile(r"!\[([^\]]*)\]\(([^)]+)\)$")
_INLINE = re.compile(r"(?P<code>`[^`]+`)|\[(?P<label>[^\]]*)\]\((?P<target>[^)]+)\)|\*\*(?P<bold>.+?)\*\*")
_BEFORE = re.compile(r"(^|[\s'\"(\[{<\-/:])$")
_AFTER = re.compile(r"^($|[\s'\")\]}>\-/:.,;!?\\])")

Link = Callable[[str], str]
"""Returns the target of a link in RST: a label, or an address."""


def anchor(heading: str) -> str:
    """Return the anchor of a heading, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-")


def from_markdown(text: str, page: str, link: Link) -> str:
    """Return a page in RST; page: its name in labels."""
    text = re.sub(r"<!--.*?-->\n?", "", text, flags=re.DOTALL)
    body = "\n".join(_blocks(text.splitlines(), _Writer(page, link)))
    return re.sub(r"\n{3,}", "\n\n", body).strip() + "\n"


class _Writer:
    """Writes headings and inline markup of one page."""

    def __init__(self, page: str, link: Link) -> None:
        self.page = page
        self.link = link

    def heading(self, level: int, text: str) -> list[str]:
        title = self.inline(text)
        name = f"{self.page}.{anchor(text)}" if level > 1 else self.page
        return [f".. _{LABEL}{name}:", "", title, _UNDERLINES[level - 1] * len(title), ""]

    def inline(self, text: str) -> str:
        """Return a line of text with its markup, which RST sees only between spaces and punctuation."""
        done, at = "", 0
        for match in _INLINE.finditer(text):
            done += _escaped(text[at : match.start()])
            at = match.end()
            done += "" if _BEFORE.search(done) else "\\ "
            done += self._marked(match)
            done += "" if _AFTER.match(text[at:]) else "\\ "
        return done + _escaped(text[at:])

    def _marked(self, match: re.Match[str]) -> str:
        if match["code"]:
            return f"``{match['code'][1:-1]}``"
        if match["bold"]:
            return f"**{_escaped(match['bold'].replace('`', ''))}**"
        label = _escaped(match["label"].replace("`", ""))
        target = self.link(match["target"])
        return f"`{label} <{target}>`__" if "://" in target else f":ref:`{label} <{target}>`"


def _escaped(text: str) -> str:
    return re.sub(r"([\\*`|]|(?<=\w)_(?!\w))", r"\\\1", text)


def _language(declared: str, lines: Sequence[str]) -> str:
    """Return the language of a code block for Pygments, for which lines of a console without a prompt are output."""
    if declared == "console" and not any(line.startswith("$ ") for line in lines):
        return "bash"
    return declared or "text"


def _blocks(lines: Sequence[str], writer: _Writer) -> Iterator[str]:
    """Yield the lines of all blocks, each with an empty line after it."""
    at = 0
    while at < len(lines):
        line = lines[at]
        end = at + 1
        fence, heading, item, image = (kind.match(line) for kind in (_FENCE, _HEADING, _ITEM, _IMAGE))
        if fence:
            end = _first(lines, end, lambda one: one.strip() == "```") + 1
            inside = [one[len(fence[1]) :] for one in lines[at + 1 : end - 1]]
            yield from (f".. code-block:: {_language(fence[2], inside)}", "", *_indented(inside), "")
        elif heading:
            yield from writer.heading(len(heading[1]), heading[2])
        elif image:
            yield from (f".. image:: {writer.link(image[2])}", f"   :alt: {image[1]}", "")
        elif line.startswith("|"):
            end = _first(lines, end, lambda one: not one.startswith("|"))
            yield from (*_table(lines[at:end], writer), "")
        elif item:
            end = _end_of_item(lines, end, len(item[0]))
            marker = "- " if item[2] in "-*" else f"{item[2]} "
            inner = [line[len(item[0]) :], *(one[len(item[0]) :] for one in lines[at + 1 : end])]
            content = _indented(_blocks(inner, writer), " " * len(marker))
            yield marker + content[0].lstrip()
            yield from content[1:]
        elif line.strip():
            end = _first(lines, end, _ends_paragraph)
            yield writer.inline(" ".join(one.strip() for one in lines[at:end]))
            yield ""
        at = end


def _ends_paragraph(line: str) -> bool:
    return not line.strip() or line.startswith("|") or any(p.match(line) for p in (_FENCE, _HEADING, _ITEM))


def _end_of_item(lines: Sequence[str], start: int, indent: int) -> int:
    """Return the first line after an item: one that is not indented like its text."""
    end = _first(lines, start, lambda one: bool(one.strip()) and len(one) - len(one.lstrip()) < indent)
    return end


def _first(lines: Sequence[str], start: int, found: Callable[[str], bool]) -> int:
    return next((n for n in range(start, len(lines)) if found(lines[n])), len(lines))


def _indented(lines: Iterable[str], indent: str = "   ") -> list[str]:
    return [f"{indent}{line}".rstrip() for line in lines]


def _table(lines: Sequence[str], writer: _Writer) -> Iterator[str]:
    yield from (".. list-table::", "   :header-rows: 1", "")
    for line in (lines[0], *lines[2:]):
        cells = [cell.strip().replace(r"\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for number, cell in enumerate(cells):
            yield f"   {'  ' if number else '* '}- {writer.inline(cell)}".rstrip()
