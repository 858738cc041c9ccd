# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs other programs, so that none of them outlives this process."""

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


END_WITH_PARENT = ("/usr/bin/setpriv", "--no-new-privs", "--pdeathsig", "KILL")
"""Begins the command of every process that must not outlive this one, not even when this one is killed.

Without the first option a program with another group of its own, such as ssh-agent, would outlive it."""


def run(command: list[str]) -> str:
    """What a command prints; HostError with its words where it fails. It does not outlive this process."""
    done = subprocess.run([*END_WITH_PARENT, *command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise HostError(done.stderr.strip() or f"{command[0]}: exit status {done.returncode}")
    return done.stdout


def text_of(program: ModuleType) -> str:
    """The text, also where Ansible has packed it into an archive; its own loader has bytes."""
    spec = program.__spec__
    loader = spec.loader if spec else None
    text: str | bytes = loader.get_source(program.__name__)  # type: ignore[union-attr]
    return text.decode() if isinstance(text, bytes) else text


def run_program(
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
