# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# pylint: disable=ansible-bad-function
"""Runs qemu-storage-daemon during a run: QEMU's own drivers without a VM."""

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
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.resources import Object
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.values import Node
from ansible_collections.directdisk.qemu.plugins.module_utils._clients.qmp import Monitor
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError, QmpError
from ansible_collections.directdisk.qemu.plugins.module_utils._options.option import Version
from ansible_collections.directdisk.qemu.plugins.module_utils._process.run import END_WITH_PARENT
from ansible_collections.directdisk.qemu.plugins.module_utils._programs.bounded_file import BoundedFile

PROGRAM = "/usr/bin/qemu-storage-daemon"

_KEY_SECONDS = 60
"""Seconds that QEMU may take to derive a key: it takes seconds on purpose, whatever the storage."""
_COARSE_CLOCK = "Unable to get accurate CPU usage"
"""Before 9.2 QEMU fails to derive a key if its CPU time does not advance for a moment; a retry may pass."""


def exported_node(uri: str) -> Node:
    """Return the node of an export; its ``server`` is a nested mapping."""
    pieces = urlsplit(uri)
    server = {"type": "unix", "path": pieces.query.partition("=")[2]}
    return {"driver": "nbd", "server": server, "export": pieces.path[1:]}


class StorageDaemon:
    """A storage daemon and its monitor."""

    def __init__(
        self,
        release: Version,
        *,
        environment: Mapping[str, str],
        begin: Callable[[int], Sequence[str]] = lambda number: (),
    ) -> None:
        """release: of QEMU; begin: a command that executes the daemon, and receives files at that socket."""
        self._release = release
        if not os.path.exists(PROGRAM):
            raise HostError(f"{PROGRAM}: No such file or directory; install it (role storage_client)")
        ours, theirs = socket.socketpair()
        self.files = VisibleFiles()
        """Files of this host that the daemon sees."""
        numbers = [theirs.fileno(), self.files.theirs.fileno()]
        command = [*END_WITH_PARENT, *begin(numbers[1]), PROGRAM, "--chardev", f"socket,id=monitor,fd={numbers[0]}"]
        # No pipe: one that nobody empties would stop the daemon as soon as its libraries have said enough.
        self._errors = BoundedFile()
        self._process = subprocess.Popen(
            [*command, "--monitor", "chardev=monitor"],
            pass_fds=numbers,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._errors.handle,
            env=dict(environment),
            umask=0o077,
        )
        theirs.close()
        self.files.theirs.close()
        self._monitor = self._greeted(ours)
        self._jobs = 0
        self._readers = 0
        self._serves = False

    def _greeted(self, connection: socket.socket) -> Monitor:
        try:
            return Monitor(connection, seconds=30)
        except QmpError as error:
            connection.close()
            self.files.close()
            self._end()
            with self._errors:
                raise HostError(f"{PROGRAM}: {self._errors.last_line() or error}") from None

    @property
    def lost(self) -> bool:
        """Return if the daemon no longer answers, so that the next disk needs another one."""
        return bool(self._monitor.lost) or self.files.lost

    def close(self) -> None:
        """Kill the process, whatever it waits for."""
        self._monitor.close()
        self.files.close()
        self._end()
        self._errors.close()

    def _end(self) -> None:
        self._process.kill()
        self._process.wait()

    def execute(self, command: str, arguments: Mapping[str, Any] | None = None, *, seconds: float = 30) -> Any:
        """Return the reply to a command; QmpError with QEMU's message if it fails or takes longer."""
        self._monitor.allow(seconds)
        return self._monitor.execute(command, dict(arguments or {}))

    def add_object(self, desired: Object) -> None:
        properties = {"props": desired.properties} if self._release < (6, 0) else desired.properties
        self.execute("object-add", {"qom-type": desired.kind, "id": desired.identifier, **properties})

    def remove_object(self, identifier: str) -> None:
        self.execute("object-del", {"id": identifier})

    @contextlib.contextmanager
    def nodes(self, nodes: Sequence[Node], *, seconds: float = 30, stay: bool = False) -> Iterator[None]:
        """Open nodes, each after those below it, and close them at the end; stay: only with the daemon."""
        with contextlib.ExitStack() as stack:
            for node in nodes:
                self.execute("blockdev-add", node, seconds=seconds)
                if not stay:
                    stack.callback(self._remove_node, node["node-name"])
            yield

    def _remove_node(self, name: str) -> None:
        """Close a node; if the daemon no longer answers, the error that led to this is the one to report."""
        with contextlib.suppress(QmpError):
            self.execute("blockdev-del", {"node-name": name})

    def describe(self, name: str) -> dict[str, Any]:
        """Return QEMU's description of an open node: ``virtual-size``, ``format``, ... (QAPI ImageInfo)."""
        nodes = self.execute("query-named-block-nodes", {"flat": True})
        return next(dict(node["image"]) for node in nodes if node["node-name"] == name)

    def open_nodes(self) -> list[dict[str, Any]]:
        """Return all open nodes, each with its chain of backing files."""
        nodes: list[dict[str, Any]] = self.execute("query-named-block-nodes", {"flat": False})
        return nodes

    @property
    def keeps_names(self) -> bool:
        """Tell if QEMU reports a backing file as the header names it; before 7.2 it reports the file that it opened."""
        return self._release >= (7, 2)

    def create(self, options: Mapping[str, Any], *, seconds: float) -> None:
        """Create an image, or write a format into an open node (QAPI BlockdevCreateOptions)."""
        seconds += _KEY_SECONDS if {"key-secret", "encrypt"} & set(options) else 0
        deadline = time.monotonic() + seconds
        error = _COARSE_CLOCK
        while _COARSE_CLOCK in error and time.monotonic() < deadline:
            error = self._create(options, deadline, seconds)
        if error:
            raise QmpError(f"blockdev-create: {error}")

    def _create(self, options: Mapping[str, Any], deadline: float, seconds: float) -> str:
        """Run a blockdev-create job; returns its error, or empty text."""
        self._jobs += 1
        job = f"create-{self._jobs}"
        self.execute("blockdev-create", {"job-id": job, "options": dict(options)})
        while True:
            state = next(job_state for job_state in self.execute("query-jobs") if job_state["id"] == job)
            if state["status"] == "concluded":
                break
            if time.monotonic() > deadline:
                raise QmpError(f"blockdev-create: not done after {seconds:.0f} s")
            time.sleep(0.02)
        self.execute("job-dismiss", {"id": job})
        return str(state.get("error", ""))

    @contextlib.contextmanager
    def exported(self, name: str, path: str, *, writable: bool) -> Iterator[str]:
        """Export an open node on the daemon's one unix socket; yields the URI for NBD clients."""
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
        """Add a raw node for reading: an export of a protocol node ignores the node's force-share."""
        self._readers += 1
        node = f"reader-{self._readers}"
        reader = {"driver": "raw", "node-name": node, "file": name, "read-only": True, "force-share": True}
        with self.nodes([reader]):
            yield node

    def _await_end_of_export(self, name: str) -> None:
        """Wait until the export has gone: until then the node has a user and cannot be closed."""
        while any(export["id"] == name for export in self.execute("query-block-exports")):
            time.sleep(0.005)
