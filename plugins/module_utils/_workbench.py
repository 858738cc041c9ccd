# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where disks are opened outside machines: to look at an image, to make one, to copy one into another.

All of it is gone when the workbench is closed: processes, sockets and the files that secrets are handed over in.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from ansible_collections.directdisk.qemu.plugins.module_utils._backend import Node
from ansible_collections.directdisk.qemu.plugins.module_utils._blockdev import build_graph
from ansible_collections.directdisk.qemu.plugins.module_utils._capabilities import Capabilities
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError
from ansible_collections.directdisk.qemu.plugins.module_utils._openers import OpenedHere, open_here
from ansible_collections.directdisk.qemu.plugins.module_utils._storage_daemon import UNTIL_OUR_END, StorageDaemon
from ansible_collections.directdisk.qemu.plugins.module_utils._wiring import Credential, Wiring

FOLDER = "/run"
"""In memory, so that no secret is written to a disk."""
PREFIX = "qemu-disks-"

Made = TypeVar("Made")


class FolderWiring(Wiring):
    """Gives a disk's backend what it asks for at once, in a folder that only root may enter."""

    def __init__(self, folder: str, prefix: str) -> None:
        super().__init__("", prefix, folder)
        self._folder = folder

    def _load(self, credential: Credential) -> str:
        if credential.source:
            return credential.source
        return self._write(credential.name, credential.value if credential.value is not None else credential.public)

    def _write(self, name: str, text: str) -> str:
        path = f"{self._folder}/{name}"
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as stream:
            stream.write(text)
        return path

    def directory(self, name: str, files: dict[str, str]) -> str:
        path = super().directory(name, files)
        os.makedirs(path, exist_ok=True)
        for link, target in files.items():
            os.symlink(target, f"{path}/{link}")
        return path

    def joined(self, name: str, *paths: str) -> str:
        path = super().joined(name, *paths)
        with open(path, "w", encoding="utf-8") as joined:
            for part in paths:
                with open(part, encoding="utf-8") as stream:
                    text = stream.read()
                joined.write(text if text.endswith("\n") else f"{text}\n")
        return path


class Workbench:
    """What one worker uses: its daemon, its helpers, and the connections that it shares with the others.

    Not for two threads at once: each has a workbench of its own.
    """

    def __init__(self, capabilities: Capabilities, *, open_timeout: float = 30) -> None:
        """open_timeout: seconds that a storage has to answer."""
        self.capabilities = capabilities
        self.open_timeout = open_timeout
        self._stack = contextlib.ExitStack()
        self._shared: dict[object, Any] = {}
        self._daemons: dict[str, StorageDaemon] = {}
        self._folder = ""
        self._count = 0

    def __enter__(self) -> Workbench:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def folder(self) -> str:
        """A folder of the workbench's own, in memory, that only root may enter."""
        if not self._folder:
            self._folder = tempfile.mkdtemp(prefix=PREFIX, dir=FOLDER)
            self._stack.callback(shutil.rmtree, self._folder, ignore_errors=True)
        return self._folder

    def shared(self, key: object, make: Callable[[], contextlib.AbstractContextManager[Made]]) -> Made:
        """What is made once and kept until the workbench is closed, such as the connection to a cluster."""
        if key not in self._shared:
            self._shared[key] = self._stack.enter_context(make())
        made: Made = self._shared[key]
        return made

    @contextlib.contextmanager
    def storage(self, disk: Disk, *, writable: bool = False) -> Iterator[OpenNode]:
        """The protocol node of a disk alone: the bytes as they are stored."""
        with self._open(disk, writable=writable, formatted=False) as node:
            yield node

    @contextlib.contextmanager
    def image(self, disk: Disk, *, writable: bool = False) -> Iterator[OpenNode]:
        """A disk up to the node that holds what a guest would see."""
        with self._open(disk, writable=writable, formatted=True) as node:
            yield node

    @contextlib.contextmanager
    def _open(self, disk: Disk, *, writable: bool, formatted: bool) -> Iterator[OpenNode]:
        self._count += 1
        wiring = FolderWiring(self.folder, f"{disk.name}{self._count}")
        with contextlib.ExitStack() as stack:
            opened = stack.enter_context(open_here(disk, wiring, self.capabilities, self.folder))
            daemon = self.daemon(opened)
            graph = build_graph(disk, opened.node, wiring, "")
            for wanted in wiring.objects:
                if wanted.kind != "throttle-group":
                    daemon.add_object(wanted)
                    stack.callback(_quietly, daemon.remove_object, wanted.identifier)
            nodes = graph.base_nodes() if formatted else graph.base_nodes()[:1]
            stack.enter_context(
                daemon.nodes([_here(node, self._count, writable=writable) for node in nodes], seconds=self.open_timeout)
            )
            key = next((wanted.identifier for wanted in wiring.objects if wanted.identifier.endswith(".luks")), "")
            yield OpenNode(daemon, f"{nodes[-1]['node-name']}.{self._count}", self, key)

    def daemon(self, opened: OpenedHere) -> StorageDaemon:
        """The daemon with the surroundings that a disk needs."""
        key = repr(opened.prefix)
        if key not in self._daemons:
            environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "SSH_AUTH_SOCK": f"{self.folder}/agent.sock"}
            daemon = StorageDaemon(self.capabilities.release, environment=environment, prefix=opened.prefix)
            self._daemons[key] = daemon
            self._stack.callback(daemon.close)
        return self._daemons[key]

    def copy(self, origin: Disk, target: Disk, *, blank: bool) -> None:
        """Copy what a guest would see of one disk into another, which is there and large enough.

        blank: the target is known to read as zeroes.
        """
        zero = ["--target-is-zero"] if blank else []
        with (
            self.image(origin) as source,
            self.image(target, writable=True) as sink,
            source.served(writable=False) as origin_uri,
            sink.served(writable=True) as target_uri,
        ):
            run(["qemu-img", "convert", "-n", "-f", "raw", "-O", "raw", *zero, origin_uri, target_uri])


class OpenNode:
    """A node that is open."""

    def __init__(self, daemon: StorageDaemon, name: str, bench: Workbench, key: str) -> None:
        self.daemon = daemon
        self.name = name
        self.key = key
        """Id of the secret with which the disk is encrypted; empty where it is not."""
        self._bench = bench

    def describe(self) -> dict[str, Any]:
        """What QEMU says of it (QAPI ImageInfo)."""
        return self.daemon.describe(self.name)

    def write_format(self, options: Mapping[str, Any]) -> None:
        """Write a format into it; options: of QAPI BlockdevCreateOptions, without ``file``."""
        self.daemon.create({**options, "file": self.name}, seconds=self._bench.open_timeout)

    def resize(self, size: int) -> None:
        """size: bytes."""
        self.daemon.execute("block_resize", {"node-name": self.name, "size": size}, seconds=self._bench.open_timeout)

    @contextlib.contextmanager
    def served(self, *, writable: bool) -> Iterator[str]:
        """The URI at which NBD clients on this host find it."""
        path = f"{self._bench.folder}/{id(self.daemon)}.sock"
        with self.daemon.exported(self.name, path, writable=writable) as uri:
            yield uri


def run(command: list[str]) -> str:
    """What a command prints; HostError with its words where it fails. It does not outlive this process."""
    done = subprocess.run([*UNTIL_OUR_END, *command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise HostError(done.stderr.strip() or f"{command[0]}: exit status {done.returncode}")
    return done.stdout


def _here(node: Node, number: int, *, writable: bool) -> Node:
    """The node under a name that no other has; only one that is written to keeps others out."""
    named = {key: f"{value}.{number}" if key in ("node-name", "file") else value for key, value in node.items()}
    return {**named, "read-only": not writable, **({} if writable else {"force-share": True})}


def _quietly(call: Callable[[str], None], argument: str) -> None:
    with contextlib.suppress(HostError):
        call(argument)
