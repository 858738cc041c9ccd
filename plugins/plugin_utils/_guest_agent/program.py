# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The program that calls a guest agent on its hypervisor: sent with each call, and never stored there."""

from __future__ import annotations

import functools
import io
import shlex
import zipfile
from pathlib import Path

_PACKAGE = ("ansible_collections", "directdisk", "qemu", "plugins", "module_utils")
_MODULES = (
    "_errors.py",
    "_programs/__init__.py",
    "_programs/unix_socket.py",
    "_programs/vms_resume.py",
    "_clients/__init__.py",
    "_clients/json_line.py",
    "_clients/guest_agent.py",
    "_host/__init__.py",
    "_host/guest_agent_call.py",
)
"""The program and what it imports."""
_STARTER = (
    "import os,sys;"
    "data=sys.stdin.buffer;"
    "size=int(data.readline());"
    'memory=os.memfd_create("guest_agent");'
    'file=os.fdopen(memory,"wb",closefd=False);'
    "file.write(data.read(size));"
    "file.flush();"
    'sys.path.insert(0,"/proc/self/fd/%d"%memory);'
    f"from {'.'.join(_PACKAGE)}._host import guest_agent_call;"
    "guest_agent_call.main(data,sys.stdout.buffer)"
)


def command(python: str) -> str:
    """Return the shell command that runs the program, which it reads from standard input first."""
    return shlex.join([python, "-I", "-c", _STARTER])


@functools.cache
def text() -> bytes:
    """Return the program, as its command reads it."""
    root = Path(__file__).parents[2] / "module_utils"
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", zipfile.ZIP_DEFLATED) as archive:
        for depth in range(len(_PACKAGE)):
            archive.writestr("/".join((*_PACKAGE[: depth + 1], "__init__.py")), "")
        for name in _MODULES:
            archive.writestr("/".join((*_PACKAGE, name)), (root / name).read_bytes())
    data = memory.getvalue()
    return b"%d\n%b" % (len(data), data)
