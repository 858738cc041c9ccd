# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real QEMU without a guest, for tests of what is done over its monitor; they are skipped without one."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._clients.qmp import Monitor
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import QmpError

EMULATOR = shutil.which("qemu-system-x86_64") or ""
needs_emulator = pytest.mark.skipif(not EMULATOR, reason="QEMU's system emulator is not installed")
_SECONDS = 30


@contextlib.contextmanager
def running_vm(socket: Path, *arguments: str) -> Iterator[Monitor]:
    """The monitor of a QEMU with these arguments, which ends after it."""
    own = ("-nodefaults", "-display", "none", "-machine", "q35", "-accel", "tcg")
    qemu = subprocess.Popen([EMULATOR, *own, *arguments, "-qmp", f"unix:{socket},server=on,wait=off"])
    try:
        with _connected(str(socket)) as monitor:
            yield monitor
    finally:
        qemu.kill()
        qemu.wait()


def _connected(path: str) -> Monitor:
    deadline = time.monotonic() + _SECONDS
    while True:
        try:
            return Monitor.connect(path, seconds=_SECONDS)
        except QmpError:
            assert time.monotonic() < deadline
            time.sleep(0.02)
