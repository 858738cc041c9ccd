# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guides in reStructuredText say what they say in Markdown."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest
import yaml

ROOT = Path(__file__).parents[2]
if not (ROOT / "scripts").is_dir():
    pytest.skip("scripts/ is not here: the archive of the collection has none", allow_module_level=True)

from ansible_collections.directdisk.qemu.scripts.documents.docsite import docsite  # noqa: E402
from ansible_collections.directdisk.qemu.scripts.documents.restructured_text import LABEL, from_markdown  # noqa: E402

RST = ROOT / "docs" / "docsite" / "rst"


def rst(text: str) -> str:
    return from_markdown(text, "page", lambda target: target)


@pytest.mark.parametrize(
    ("markdown", "expected"),
    [
        ("Set `a: b`s.", "Set ``a: b``\\ s."),
        ("**Sizes** are `20G` (or **20**).", "**Sizes** are ``20G`` (or **20**)."),
        ("a *b* c_ | d_e \\", "a \\*b\\* c\\_ \\| d_e \\\\"),
        ("one\ntwo", "one two"),
        ("[the `x`](https://h/a_b)", "`the x <https://h/a_b>`__"),
        ("[x](other)", ":ref:`x <other>`"),
        ("<!-- a\nb -->\ntext", "text"),
        ("![a, b](https://h/x.png)", ".. image:: https://h/x.png\n   :alt: a, b"),
        ("- one\n  more\n- two", "- one more\n\n- two"),
        ("1. one\n\n   ```yaml\n   a: 1\n   ```\n2. two", "1. one\n\n   .. code-block:: yaml\n\n      a: 1\n\n2. two"),
        ("```console\nls\n```", ".. code-block:: bash\n\n   ls"),
        ("```console\n$ ls\na\n```", ".. code-block:: console\n\n   $ ls\n   a"),
        ("```\n a\n\nb\n```", ".. code-block:: text\n\n    a\n\n   b"),
        (
            "| a | b |\n|---|---|\n| `x\\|y` | |",
            ".. list-table::\n   :header-rows: 1\n\n   * - a\n     - b\n   * - ``x|y``\n     -",
        ),
        ("# A `b`", f".. _{LABEL}page:\n\nA ``b``\n======="),
        ("## Start, stop", f".. _{LABEL}page.start-stop:\n\nStart, stop\n-----------"),
    ],
)
def test_markdown_becomes_rst(markdown: str, expected: str) -> None:
    assert rst(markdown) == f"{expected}\n"


def test_links_lead_to_pages_of_the_site_or_to_the_repository() -> None:
    guides = {
        PurePosixPath("docs/fleet.md"): """[a](day-2.md#b), [c](../README.md#d), [e](#f), [g](backends/rbd.md)

![h](i.png)""",
        PurePosixPath("docs/day-2.md"): "",
        PurePosixPath("docs/backends/rbd.md"): "[a](../fleet.md)",
    }
    files = docsite(guides)
    fleet = files[PurePosixPath("docs/docsite/rst/fleet.rst")]
    assert f":ref:`a <{LABEL}day-2.b>`" in fleet
    assert "`c <https://github.com/directdisk/directdisk.qemu/blob/main/README.md#d>`__" in fleet
    assert ".. image:: https://github.com/directdisk/directdisk.qemu/raw/main/docs/i.png" in fleet
    assert f":ref:`e <{LABEL}fleet.f>`" in fleet
    assert f":ref:`g <{LABEL}backend-rbd>`" in fleet
    assert f":ref:`a <{LABEL}fleet>`" in files[PurePosixPath("docs/docsite/rst/backend-rbd.rst")]
    assert yaml.safe_load(files[PurePosixPath("docs/docsite/extra-docs.yml")])["sections"] == [
        {"title": "Guides", "toctree": ["day-2", "fleet"]},
        {"title": "Backends", "toctree": ["backend-rbd"]},
    ]


def test_every_page_of_the_site_is_listed() -> None:
    sections = yaml.safe_load((RST.parent / "extra-docs.yml").read_text(encoding="utf-8"))["sections"]
    assert sorted(page for section in sections for page in section["toctree"]) == sorted(p.stem for p in RST.iterdir())
