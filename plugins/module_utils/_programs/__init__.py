# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs of their own that are shipped with a module, each as the text of a file in this folder."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Sequence
from types import ModuleType

from ansible_collections.directdisk.qemu.plugins.module_utils._errors import AlreadyExistsError, HostError

PYTHON = (sys.executable or "/usr/bin/python3", "-IS")
"""Runs them with nothing but the standard library in sight."""


def text_of(program: ModuleType) -> str:
    """The text, also where Ansible has packed it into an archive; its own loader has bytes."""
    spec = program.__spec__
    loader = spec.loader if spec else None
    text: str | bytes = loader.get_source(program.__name__)  # type: ignore[union-attr]
    return text.decode() if isinstance(text, bytes) else text


def run_apart(
    program: ModuleType, arguments: Sequence[str], *, seconds: float, begin: Sequence[str], pid: int = 0
) -> str:
    """What a program prints, however its libraries hang or crash; it ends with the number of an error.

    begin: the command that confines it; pid: of the process that it speaks to.
    """
    try:
        done = subprocess.run(
            [*begin, *PYTHON, "-", *arguments],
            env={**os.environ, "MAINPID": str(pid)},
            input=text_of(program),
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise HostError(f"does not answer: timed out after {seconds:.0f} s") from None
    if done.returncode:
        words = done.stderr.strip().splitlines() or [f"it crashed ({done.returncode})"]
        raise (AlreadyExistsError if done.returncode == errno.EEXIST else HostError)(words[-1])
    return done.stdout


class FilesApart:
    """Files that a program asks for, because the library that reaches them may hang or crash."""

    def kind(self, path: str) -> str:
        return self.ask("kind", path)

    def make(self, path: str) -> None:
        self.ask("make", path)

    def put(self, path: str, place: str, *, overwrite: bool) -> None:
        self.ask("replace" if overwrite else "put", path, place)

    def remove(self, path: str) -> None:
        self.ask("remove", path)

    def ask(self, operation: str, *paths: str) -> str:
        """Have the program carry out an operation; what it prints."""
        raise NotImplementedError
