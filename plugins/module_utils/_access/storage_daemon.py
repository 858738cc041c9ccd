# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A qemu-storage-daemon for as long as disks are worked on: QEMU's own drivers, without a machine."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Callable
from urllib.parse import urlsplit

from ansible_collections.directdisk.qemu.plugins.module_utils._access.visible_files import VisibleFiles
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.contract import Node
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.resources import Object
from ansible_collections.directdisk.qemu.plugins.module_utils._clients.qmp import Monitor
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError, QmpError
from ansible_collections.directdisk.qemu.plugins.module_utils._options.option import Version
from ansible_collections.directdisk.qemu.plugins.module_utils._process.run import UNTIL_OUR_END

PROGRAM = "/usr/bin/qemu-storage-daemon"

_KEY_SECONDS = 60
"""What QEMU may take to make a key: it works on it for seconds on purpose, and no storage has a part in that."""
_COARSE_CLOCK = "Unable to get accurate CPU usage"
"""Before 9.2 QEMU makes no key where the account of its CPU time stands still for a moment; the next try may pass."""


def exported_node(uri: str) -> Node:
    """The node of an export; ``server`` within it is a mapping of its own."""
    pieces = urlsplit(uri)
    server = {"type": "unix", "path": pieces.query.partition("=")[2]}
    return {"driver": "nbd", "server": server, "export": pieces.path[1:]}


class StorageDaemon:
    """One process and its monitor. Its log is kept, for QEMU's replies do not say everything."""

    def __init__(
        self,
        release: Version,
        *,
        environment: Mapping[str, str],
        begin: Callable[[int], Sequence[str]] = lambda number: (),
    ) -> None:
        """release: of QEMU; begin: a command that becomes the daemon, and takes files from a socket of that number."""
        self._release = release
        if not os.path.exists(PROGRAM):
            raise HostError(f"{PROGRAM}: No such file or directory; install it (role storage_client)")
        ours, theirs = socket.socketpair()
        self.files = VisibleFiles()
        """The files of this host that it sees."""
        numbers = [theirs.fileno(), self.files.theirs.fileno()]
        command = [*UNTIL_OUR_END, *begin(numbers[1]), PROGRAM, "--chardev", f"socket,id=monitor,fd={numbers[0]}"]
        self._process = subprocess.Popen(
            [*command, "--monitor", "chardev=monitor"],
            pass_fds=numbers,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=dict(environment),
            text=True,
            umask=0o077,
        )
        theirs.close()
        self.files.theirs.close()
        self._monitor = self._greeted(ours)
        self._jobs = 0
        self._looks = 0
        self._serves = False

    def _greeted(self, connection: socket.socket) -> Monitor:
        try:
            return Monitor(connection, seconds=30)
        except QmpError as error:
            connection.close()
            self.files.close()
            self._process.kill()
            words = self._process.communicate()[1].strip()
            raise HostError(f"{PROGRAM}: {words.splitlines()[-1] if words else error}") from None

    @property
    def lost(self) -> bool:
        """Whether it no longer answers: whatever is opened next wants another."""
        return bool(self._monitor.lost)

    def close(self) -> None:
        """End the process, whatever it waits for."""
        self._monitor.close()
        self.files.close()
        self._process.kill()
        self._process.communicate()

    def execute(self, command: str, arguments: Mapping[str, Any] | None = None, *, seconds: float = 30) -> Any:
        """The command's return value; QmpError with QEMU's words where it refuses or takes longer."""
        self._monitor.allow(seconds)
        return self._monitor.execute(command, dict(arguments or {}))

    def add_object(self, desired: Object) -> None:
        properties = {"props": desired.properties} if self._release < (6, 0) else desired.properties
        self.execute("object-add", {"qom-type": desired.kind, "id": desired.identifier, **properties})

    def remove_object(self, identifier: str) -> None:
        self.execute("object-del", {"id": identifier})

    @contextlib.contextmanager
    def nodes(self, nodes: Sequence[Node], *, seconds: float = 30, stay: bool = False) -> Iterator[None]:
        """Nodes that are open for a while, each after those it stands on; stay: until the daemon ends."""
        with contextlib.ExitStack() as stack:
            for node in nodes:
                self.execute("blockdev-add", node, seconds=seconds)
                if not stay:
                    stack.callback(self._remove_node, node["node-name"])
            yield

    def _remove_node(self, name: str) -> None:
        """A daemon that no longer answers is ended soon; its silence must not hide why it is."""
        with contextlib.suppress(QmpError):
            self.execute("blockdev-del", {"node-name": name})

    def describe(self, name: str, *, chain: bool = False) -> dict[str, Any]:
        """What QEMU says of an open node: ``virtual-size``, ``format``, ``format-specific`` (QAPI ImageInfo).

        chain: with ``backing-image``, the same of what it stands on.
        """
        found = self.execute("query-named-block-nodes", {"flat": not chain})
        return next(dict(node["image"]) for node in found if node["node-name"] == name)

    def refuse_strangers(self) -> None:
        """Raise where QEMU has opened what it was not told to: it names such nodes itself."""
        opened = self.execute("query-named-block-nodes", {"flat": True})
        strangers = [node for node in opened if str(node["node-name"]).startswith("#")]
        if strangers:
            raise QmpError(
                "its header names other storage, which QEMU would open; flatten the image, or declare its backing file"
            )

    def create(self, options: Mapping[str, Any], *, seconds: float) -> None:
        """Make an image, or write a format into an open node (QAPI BlockdevCreateOptions)."""
        seconds += _KEY_SECONDS if {"key-secret", "encrypt"} & set(options) else 0
        deadline = time.monotonic() + seconds
        error = _COARSE_CLOCK
        while _COARSE_CLOCK in error and time.monotonic() < deadline:
            error = self._create(options, deadline, seconds)
        if error:
            raise QmpError(f"blockdev-create: {error}")

    def _create(self, options: Mapping[str, Any], deadline: float, seconds: float) -> str:
        """Why an image could not be made; empty where it was."""
        self._jobs += 1
        job = f"create-{self._jobs}"
        self.execute("blockdev-create", {"job-id": job, "options": dict(options)})
        while True:
            state = next(found for found in self.execute("query-jobs") if found["id"] == job)
            if state["status"] == "concluded":
                break
            if time.monotonic() > deadline:
                raise QmpError(f"blockdev-create: not done after {seconds:.0f} s")
            time.sleep(0.02)
        self.execute("job-dismiss", {"id": job})
        return str(state.get("error", ""))

    @contextlib.contextmanager
    def exported(self, name: str, path: str, *, writable: bool) -> Iterator[str]:
        """An open node, served on the one unix socket; yields the URI at which NBD clients find it."""
        if not self._serves:
            self.execute("nbd-server-start", {"addr": {"type": "unix", "data": {"path": path}}})
            self._serves = True
        with contextlib.nullcontext(name) if writable else self._shared(name) as node:
            export = {"type": "nbd", "id": name, "node-name": node, "name": name, "writable": writable}
            self.execute("block-export-add", export)
            try:
                yield f"nbd+unix:///{name}?socket={path}"
            finally:
                with contextlib.suppress(QmpError):
                    self.execute("block-export-del", {"id": name, "mode": "hard"})
                    self._await_end_of_export(name)

    @contextlib.contextmanager
    def _shared(self, name: str) -> Iterator[str]:
        """A node for reading what a machine has open: an export of a protocol node forgets the node's force-share."""
        self._looks += 1
        node = f"look-{self._looks}"
        look = {"driver": "raw", "node-name": node, "file": name, "read-only": True, "force-share": True}
        with self.nodes([look]):
            yield node

    def _await_end_of_export(self, name: str) -> None:
        """Until then the node has a user, and cannot be closed."""
        while any(export["id"] == name for export in self.execute("query-block-exports")):
            time.sleep(0.005)
