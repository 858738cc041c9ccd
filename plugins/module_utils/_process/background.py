# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# pylint: disable=ansible-bad-function
"""Background processes that end with this process."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator, Mapping
from typing import IO

from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError, QmpError

_LISTENING = "00010000"
"""Flags of a listening socket (proc(5), /proc/net/unix)."""
_MESSAGE = 300
"""Characters of a process's last message that an error repeats."""
_TAIL = 65536
"""Bytes at the end of a log that are read."""


@contextlib.contextmanager
def background_process(
    command: list[str], ready: str, *, seconds: float, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a confined process until the end of the block.

    ready: the unix socket on which it listens. An error of QEMU gets the last line of the process's log added.
    """
    with contextlib.suppress(FileNotFoundError):
        os.unlink(ready)
    # It has no name: in the folder of the socket, confined processes may put links.
    with open(os.memfd_create("log"), "w+b") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
            env=dict(environment) if environment is not None else None,
        )
        try:
            _await(process, command, ready, seconds, log)
            yield process
        except QmpError as error:
            message = last_message(log)
            raise type(error)(f"{error}: {message}" if message else str(error)) from None
        finally:
            process.kill()
            process.wait()


def _await(process: subprocess.Popen[bytes], command: list[str], ready: str, seconds: float, log: IO[bytes]) -> None:
    deadline = time.monotonic() + seconds
    while not _listens(ready):
        if process.poll() is not None:
            raise HostError(last_message(log) or f"{command[0]} ended with exit status {process.returncode}")
        if time.monotonic() > deadline:
            raise HostError(f"{command[0]} is not ready after {seconds:.0f} s")
        time.sleep(0.01)


def _listens(path: str) -> bool:
    """Return True once the socket accepts connections, without connecting: the process would count that as a client."""
    if not os.path.exists(path):
        return False
    with open("/proc/net/unix", encoding="utf-8", errors="replace") as stream:
        return any(line.split()[3] == _LISTENING for line in stream if line.endswith(f" {path}\n"))


def last_message(log: IO[bytes]) -> str:
    """Return the last line of a log to which the process may still write: it shares the position in the file."""
    size = os.fstat(log.fileno()).st_size
    text = os.pread(log.fileno(), _TAIL, max(size - _TAIL, 0)).decode(errors="replace")
    lines = text.strip().splitlines()
    return lines[-1].strip()[:_MESSAGE] if lines else ""
