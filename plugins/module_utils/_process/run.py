# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# pylint: disable=ansible-bad-function
"""Runs other programs, none of which outlives this process.

Ansible's rules ask for run_command() of a module instead of subprocess. Files that run programs turn that rule off:
workers and programs that are shipped have no module, and run_command() knows no time limit and no end with its parent.
"""

from __future__ import annotations

import errno
import functools
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._errors import AlreadyExistsError, HostError
from ansible_collections.directdisk.qemu.plugins.module_utils._programs.bounded_file import BoundedFile
from ansible_collections.directdisk.qemu.plugins.module_utils._units import paths

PYTHON = (sys.executable or paths.PYTHON[0], *paths.PYTHON[1:])
"""Begins the command of a program that runs beside this one, by the same Python."""

SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
"""root's search path; that of another user's ssh session may be shorter."""

END_WITH_PARENT = ("/usr/bin/setpriv", "--no-new-privs", "--pdeathsig", "KILL")
"""Begins the command of every process that must not outlive this one, not even if this one is killed.

Without the first option a setgid program, such as ssh-agent, would outlive it."""


def run(command: list[str]) -> str:
    """Run a command and return its output; raise HostError with its error output if it fails."""
    done = subprocess.run([*END_WITH_PARENT, *command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise HostError(done.stderr.strip() or f"{command[0]}: exit status {done.returncode}")
    return done.stdout


_SHARED = re.compile(r"^from (ansible_collections\.\S+\._programs\.\w+) import .*\n", re.MULTILINE)
"""A program's import of what other programs use, too."""
_FUTURE = "from __future__ import annotations\n"
"""May stand at the beginning of a program only."""


MOST = 1 << 20
"""Bytes of output that are read, if nothing else is said."""


class TooMuchOutputError(HostError):
    """A program writes more than anybody reads."""


@dataclass(frozen=True)
class Ended:
    """A program that has ended."""

    returncode: int
    stdout: str
    stderr: str
    message: str
    """The last line of its error output."""


def run_bounded(command: Sequence[str], *, seconds: float | None, most: int = MOST, **options: Any) -> Ended:
    """Run a program that a foreign server may make hang, or write without an end; options: of subprocess.run.

    seconds: time limit, or None for a program that has one itself, or whose work may take any time. Raises
    TooMuchOutputError if its output is longer than ``most`` bytes; of its error output the rest is left out.
    """
    with BoundedFile(most) as output, BoundedFile() as errors:
        try:
            done = subprocess.run(
                command, stdout=output.handle, stderr=errors.handle, timeout=seconds, check=False, **options
            )
        except subprocess.TimeoutExpired:
            raise HostError(f"does not answer: timed out after {seconds:.0f} s") from None
        if output.overflowed:
            raise TooMuchOutputError(f"writes more than {most} bytes")
        return Ended(done.returncode, output.text(), errors.text(), errors.last_line())


@functools.cache
def text_of(program: ModuleType) -> str:
    """Return the source of a program that runs alone, with that of the modules of its room that it imports.

    Ansible may have packed it into an archive, whose loader returns bytes.
    """
    spec = program.__spec__
    loader = spec.loader if spec else None
    text: str | bytes = loader.get_source(program.__name__)  # type: ignore[union-attr]
    text = text.decode() if isinstance(text, bytes) else text
    return _SHARED.sub(lambda found: text_of(sys.modules[found[1]]).replace(_FUTURE, ""), text)


def keep_texts() -> None:
    """Read the sources of all programs that were imported, before the archive of the module is removed."""
    for name, module in list(sys.modules.items()):
        if "._programs." in name:
            text_of(module)


def run_program(
    program: ModuleType, arguments: Sequence[str], *, seconds: float, begin: Sequence[str], pid: int = 0
) -> str:
    """Run a program in a process of its own, because its libraries may hang or crash, and return its output.

    begin: the command that confines it; pid: the process that it talks to. The program exits with an errno.
    """
    done = run_bounded(
        [*begin, *PYTHON, "-", *arguments],
        seconds=seconds,
        env={**os.environ, "MAINPID": str(pid)},
        input=text_of(program).encode(),
    )
    if done.returncode:
        message = done.message or f"it crashed ({done.returncode})"
        raise (AlreadyExistsError if done.returncode == errno.EEXIST else HostError)(message)
    return done.stdout
