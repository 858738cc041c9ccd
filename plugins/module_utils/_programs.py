# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs of their own that are shipped with a module, each as the text of a file beside this one."""

from __future__ import annotations

import sys
from types import ModuleType

PYTHON = (sys.executable or "/usr/bin/python3", "-IS")
"""Runs them with nothing but the standard library in sight."""


def text_of(program: ModuleType) -> str:
    """The text, also where Ansible has packed it into an archive; its own loader has bytes."""
    spec = program.__spec__
    loader = spec.loader if spec else None
    text: str | bytes = loader.get_source(program.__name__)  # type: ignore[union-attr]
    return text.decode() if isinstance(text, bytes) else text
