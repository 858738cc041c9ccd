# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plain words: phrases that must not come back into code, messages and documents."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

PHRASES = {
    r"\bis wanted\b|\bare wanted\b|\bwants\b": "must, is required, needs",
    r"\banew\b": "again, recreate",
    r"\bgiv(?:e|es|en|ing) out\b": "export",
    r"\bgo(?:es)? before\b": "override",
    r"\bis none of\b|\bare none of\b": "is not a",
    r"\bcarr(?:y|ies|ied|ying) out\b": "apply",
    r"\bstand-ins?\b": "placeholder",
    r"\bsay (?:[a-z_]+: |[a-z]+ )?`?[a-z_]+: ": "set X to Y",
    r"\b(?:is|are) not said\b": "is not set",
    r"(?<!irtual )(?<![\w`/\"-])(?:\b(?:the|a) machine(?:'s)?\b(?![:-])|\bmachines\b(?!\"))": "VM",
}
"""What must not be written, and what to write."""

BEGINNINGS = re.compile(r"(?:What|When|Where|Whether|Whom|Who|Why|Of|By which|How) ")
"""A docstring begins with a verb or a noun."""

TEXTS = ("*.md", "*.yml", "*.j2", "*.html", "*.js")
ABOUT_COMPUTERS = "tests/lab/"
"""The lab's own text says machine for a computer."""
GENERATED = ("tests/unit/golden/", "tests/unit/schemas/", "changelogs/", "tests/unit/test_words.py", "LICENSES/")


def files(*patterns: str) -> list[Path]:
    """The files of the checkout, or of its copy, that people write."""
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns]
    done = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=False)
    names = done.stdout.split() or [str(path.relative_to(ROOT)) for one in patterns for path in ROOT.rglob(one)]
    return [ROOT / name for name in names if not name.startswith(GENERATED) and (ROOT / name).is_file()]


def prose_of(text: str) -> Iterator[tuple[int, str]]:
    """Docstrings, other strings and comments of a Python file, with their lines."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield node.lineno, node.value
    for number, line in enumerate(text.splitlines(), 1):
        comment = re.search(r"(?:^|\s)# (.*)$", line)
        if comment:
            yield number, comment[1]


def beginnings(text: str) -> Iterator[str]:
    """Docstrings, those of attributes too, that begin with a question word."""
    for node in ast.walk(ast.parse(text)):
        body = getattr(node, "body", None)
        for statement in body if isinstance(body, list) else []:
            if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
                value = statement.value.value
                if isinstance(value, str) and BEGINNINGS.match(value):
                    yield f"{statement.lineno}: {value.splitlines()[0]}"


@cache
def texts() -> list[tuple[str, str]]:
    """All texts, each with its place."""
    found = []
    for path in files("*.py"):
        lines = prose_of(path.read_text(encoding="utf-8"))
        found += [(f"{path.relative_to(ROOT)}:{number}", text) for number, text in lines]
    for path in files(*TEXTS):
        lines = enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        found += [(f"{path.relative_to(ROOT)}:{number}", text) for number, text in lines]
    return found


def hits(pattern: str) -> list[str]:
    """The places in all texts where a pattern matches."""
    return [f"{place}: {match[0]}" for place, text in texts() for match in re.finditer(pattern, text)]


@pytest.mark.parametrize("pattern", PHRASES)
def test_phrases_do_not_come_back(pattern: str) -> None:
    found = hits(pattern)
    if "machine" in pattern:
        found = [hit for hit in found if not hit.startswith(ABOUT_COMPUTERS)]
    assert found == [], f"write: {PHRASES[pattern]}"


def test_a_phrase_is_found_wherever_it_stands() -> None:
    text = 'def f():\n    """Do it anew."""\n    return f"{x} wants a value"  # as it goes before\n'
    found = [line for _number, line in prose_of(text)]
    assert any("anew" in line for line in found)
    assert any("wants a value" in line for line in found)
    assert any("goes before" in line for line in found)
    assert list(beginnings('def f():\n    """What it does."""\n')) == ["2: What it does."]


def test_docstrings_begin_with_a_verb_or_a_noun() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in files("plugins/*.py", "roles/*.py", "tests/lab/*.py")
        for line in beginnings(path.read_text(encoding="utf-8"))
    ]
    assert found == []
