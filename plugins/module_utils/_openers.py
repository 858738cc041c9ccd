# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The routes, without systemd: what must run so that a disk can be opened for a short while."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass

from ansible_collections.directdisk.qemu.plugins.module_utils._backend import Node
from ansible_collections.directdisk.qemu.plugins.module_utils._capabilities import Capabilities
from ansible_collections.directdisk.qemu.plugins.module_utils._choice import choose_route
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import CapabilityError, HostError
from ansible_collections.directdisk.qemu.plugins.module_utils._routes import nbdkit
from ansible_collections.directdisk.qemu.plugins.module_utils._storage_daemon import UNTIL_OUR_END
from ansible_collections.directdisk.qemu.plugins.module_utils._wiring import Wiring


@dataclass(frozen=True)
class OpenedHere:
    """How this host's QEMU opens a disk for now."""

    node: Node
    """QEMU's protocol node."""
    prefix: tuple[str, ...] = ()
    """A command that prepares what QEMU must find, and then becomes QEMU."""


@contextlib.contextmanager
def open_here(disk: Disk, wiring: Wiring, capabilities: Capabilities, folder: str) -> Iterator[OpenedHere]:
    """Open a disk by the route that is declared or works here; its helpers end with it."""
    route, _warning = choose_route(disk, capabilities)
    if route not in _OPENERS:
        raise CapabilityError(disk.described, f"route {route} is for disks of machines")
    with _OPENERS[route](disk, wiring, folder) as opened:
        yield opened


@contextlib.contextmanager
def _by_driver(disk: Disk, wiring: Wiring, folder: str) -> Iterator[OpenedHere]:
    del folder
    yield OpenedHere(disk.backend.node(disk.source, wiring))


@contextlib.contextmanager
def _by_nbdkit(disk: Disk, wiring: Wiring, folder: str) -> Iterator[OpenedHere]:
    path = f"{folder}/{disk.name}.nbdkit.sock"
    command = nbdkit.command(disk, wiring, path, "--foreground")
    with _helper(command, path):
        yield OpenedHere({"driver": "nbd", "server": {"type": "unix", "path": path}})


@contextlib.contextmanager
def _helper(command: list[str], ready: str) -> Iterator[None]:
    """A process that runs for a while; ready: the path that it makes once others may use it."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(ready)
    process = subprocess.Popen(
        [*UNTIL_OUR_END, *command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        deadline = time.monotonic() + 30
        while not os.path.exists(ready):
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                raise HostError(process.communicate()[1].strip() or f"{command[0]} did not become ready")
            time.sleep(0.01)
        yield
    finally:
        process.kill()
        process.communicate()


_OPENERS = {"driver": _by_driver, "nbdkit": _by_nbdkit}
