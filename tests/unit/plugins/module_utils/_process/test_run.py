# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Other programs, and the texts of those that the collection ships."""

from __future__ import annotations

import importlib
import pkgutil

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils import _programs
from ansible_collections.directdisk.qemu.plugins.module_utils._process.run import text_of

PROGRAMS = [module.name for module in pkgutil.iter_modules(_programs.__path__)]


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_text_of_a_program_needs_no_collection_around_it(name: str) -> None:
    text = text_of(importlib.import_module(f"{_programs.__name__}.{name}"))
    assert "import ansible" not in text
    assert "from ansible" not in text
    compile(text, name, "exec")


def test_what_programs_share_is_in_the_text_of_each() -> None:
    for name in ("iscsi_session", "owners_iscsi"):
        text = text_of(importlib.import_module(f"{_programs.__name__}.{name}"))
        space: dict[str, object] = {"__name__": name}
        exec(compile(text, name, "exec"), space)
        assert {"PLACES", "Sense", "find_library"} <= set(space)
