# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where disks are opened outside machines: to look at an image, to make one, to copy one into another.

All of it is gone when the workbench is closed: processes, sockets and the files that secrets are handed over in.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils import _confinement
from ansible_collections.directdisk.qemu.plugins.module_utils._backend import Node
from ansible_collections.directdisk.qemu.plugins.module_utils._blockdev import Graph, build_graph
from ansible_collections.directdisk.qemu.plugins.module_utils._capabilities import Capabilities
from ansible_collections.directdisk.qemu.plugins.module_utils._clients.nbd import NbdClient
from ansible_collections.directdisk.qemu.plugins.module_utils._confinement import Confinement
from ansible_collections.directdisk.qemu.plugins.module_utils._content import file_kind
from ansible_collections.directdisk.qemu.plugins.module_utils._disk import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError
from ansible_collections.directdisk.qemu.plugins.module_utils._folders import folder_for_a_while
from ansible_collections.directdisk.qemu.plugins.module_utils._header import HEAD, Header, opened_by_header, read_header
from ansible_collections.directdisk.qemu.plugins.module_utils._hints import explained
from ansible_collections.directdisk.qemu.plugins.module_utils._openers import OpenedHere, open_here
from ansible_collections.directdisk.qemu.plugins.module_utils._shared import Made, Shared
from ansible_collections.directdisk.qemu.plugins.module_utils._source_check import check_content, check_whole
from ansible_collections.directdisk.qemu.plugins.module_utils._storage_daemon import UNTIL_OUR_END, StorageDaemon
from ansible_collections.directdisk.qemu.plugins.module_utils._wiring import Credential, Wiring

FOLDER = "/run"
"""In memory, so that no secret is written to a disk."""


class FolderWiring(Wiring):
    """Gives a disk's backend what it asks for at once, in a folder that only root may enter."""

    def __init__(self, folder: str, prefix: str) -> None:
        super().__init__("", prefix, folder)
        self._folder = folder

    def _load(self, credential: Credential) -> str:
        text = credential.value if credential.value is not None else credential.public
        if credential.source:
            # Whoever reads it sees this folder alone, and says in its own words what is not there.
            if not os.path.exists(credential.source):
                return credential.source
            text = _read(credential.source)
        return _write(f"{self._folder}/{credential.name}", text)

    def directory(self, name: str, files: dict[str, str]) -> str:
        path = super().directory(name, files)
        os.makedirs(path, exist_ok=True)
        for link, target in files.items():
            os.symlink(target, f"{path}/{link}")
        return path

    def joined(self, name: str, *paths: str) -> str:
        texts = map(_read, paths)
        return _write(
            super().joined(name, *paths), "".join(text if text.endswith("\n") else f"{text}\n" for text in texts)
        )


class Workbench:
    """What one worker uses: its daemon, its helpers, and the connections that it shares with the others.

    Not for two threads at once: each has a workbench of its own.
    """

    def __init__(self, capabilities: Capabilities, *, open_timeout: float = 30, shared: Shared | None = None) -> None:
        """open_timeout: seconds that a storage has to answer; shared: with other workers."""
        self.capabilities = capabilities
        self.open_timeout = open_timeout
        self._stack = contextlib.ExitStack()
        self._shared = shared or self._stack.enter_context(Shared())
        self._own = self._stack.enter_context(Shared())
        self._daemons: dict[str, StorageDaemon] = {}
        self._folder = ""
        self._outer = ""
        self._confined = ""
        self._count = 0

    def __enter__(self) -> Workbench:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def folder(self) -> str:
        """A folder of the workbench's own, in memory, that only root and its processes may enter."""
        if not self._folder:
            self._outer = self._stack.enter_context(folder_for_a_while(FOLDER))
            self._confined = _confinement.program(self._outer)
            self._user = _confinement.new_user()
            self._folder = self.new_folder(f"{self._outer}/w")
        return self._folder

    def new_folder(self, path: str) -> str:
        """A folder for the workbench's processes, within one that only root may enter."""
        os.mkdir(path, 0o700)
        os.chown(path, self._user, self._user)
        return path

    def file(self, name: str, text: str) -> str:
        """A file in that folder; returns its path."""
        return _write(f"{self.folder}/{name}", text)

    def give(self, path: str) -> None:
        """Have a file that root has made belong to the workbench's processes."""
        os.chown(path, self._user, self._user, follow_symlinks=False)

    def confined(self, allowed: Confinement, *folders: str, files_from: int = -1) -> list[str]:
        """Begins a command that opens what others made; folders: that it may write to, beside the workbench's."""
        everywhere = (self.folder, *folders)
        return [
            *UNTIL_OUR_END,
            *_confinement.begin(
                allowed, self._user, self._outer, self._confined, folders=everywhere, files_from=files_from
            ),
        ]

    def own(self, key: object, make: Callable[[], contextlib.AbstractContextManager[Made]]) -> Made:
        """What is made once and kept until the workbench is closed, in its folder."""
        return self._own.get(key, make)

    def shared(self, key: object, make: Callable[[], contextlib.AbstractContextManager[Made]]) -> Made:
        """What is made once and kept until all workers are done, such as the connection to a cluster."""
        return self._shared.get(key, make)

    @contextlib.contextmanager
    def storage(self, disk: Disk, *, writable: bool = False) -> Iterator[Storage]:
        """The protocol node of a disk alone: the bytes as they are stored."""
        with self._surroundings(disk) as here:
            storage, *formats = (_here(node, here.number, writable=writable) for node in here.graph.base_nodes())
            # What was only read has nothing left to write: it may end with its daemon.
            stay = disk.backend.lingers and not writable
            with here.daemon.nodes([storage], seconds=self.open_timeout, stay=stay):
                yield Storage(here.daemon, storage["node-name"], self, here.key, disk, formats)

    @contextlib.contextmanager
    def image(self, disk: Disk, *, writable: bool = False) -> Iterator[OpenNode]:
        """A disk up to the node that holds what a guest would see."""
        with self.storage(disk, writable=writable) as storage, storage.image() as image:
            yield image

    def size_of(self, disk: Disk) -> int:
        """Bytes that a guest would see."""
        with self.image(disk) as image:
            return int(image.describe()["virtual-size"])

    def size_of_source(self, origin: Disk) -> int:
        """The same of a disk that is to be copied; HostError where it is not the whole image that is declared."""
        with self.storage(origin) as storage:
            check_content(storage, origin)
            with storage.image() as image:
                check_whole(storage, origin)
                return int(image.describe()["virtual-size"])

    @contextlib.contextmanager
    def _surroundings(self, disk: Disk) -> Iterator[_Surroundings]:
        """What a disk's nodes need before they are opened; whatever fails meanwhile, failed over this disk."""
        self._count += 1
        wiring = FolderWiring(self.folder, f"{disk.name}{self._count}")
        try:
            with contextlib.ExitStack() as stack:
                opened = stack.enter_context(open_here(disk, wiring, self))
                daemon = self._new_daemon(opened, stack) if disk.backend.lingers else self.daemon(opened)
                stack.enter_context(daemon.files.shown(opened.files))
                graph = build_graph(disk, opened.node, wiring, "")
                for wanted in wiring.objects:
                    if wanted.kind != "throttle-group":
                        daemon.add_object(wanted)
                        stack.callback(_quietly, daemon.remove_object, wanted.identifier)
                key = next((wanted.identifier for wanted in wiring.objects if wanted.identifier.endswith(".luks")), "")
                yield _Surroundings(daemon, opened.node, graph, self._count, key)
        except HostError as error:
            raise explained(disk, error) from None

    def create(self, disk: Disk, options: Callable[[Node], Mapping[str, Any]], *, seconds: float | None = None) -> None:
        """Make the storage of a disk; options: from its protocol node to QAPI BlockdevCreateOptions."""
        with self._surroundings(disk) as here:
            here.daemon.create(options(here.node), seconds=seconds or self.open_timeout)

    def daemon(self, opened: OpenedHere) -> StorageDaemon:
        """The daemon with the surroundings that a disk needs."""
        key = repr((opened.confinement, opened.environment))
        if key not in self._daemons or self._daemons[key].lost:
            self._daemons[key] = self._new_daemon(opened, self._stack)
        return self._daemons[key]

    def _new_daemon(self, opened: OpenedHere, stack: contextlib.ExitStack) -> StorageDaemon:
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **opened.environment}
        daemon = StorageDaemon(
            self.capabilities.release,
            environment=environment,
            begin=lambda number: self.confined(opened.confinement, files_from=number),
        )
        stack.callback(daemon.close)
        return daemon

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


@dataclass(frozen=True)
class _Surroundings:
    """Where the nodes of a disk can be opened."""

    daemon: StorageDaemon
    node: Node
    graph: Graph
    number: int
    key: str


class OpenNode:
    """A node that is open."""

    def __init__(self, daemon: StorageDaemon, name: str, bench: Workbench, key: str) -> None:
        self.daemon = daemon
        self.name = name
        self.key = key
        """Id of the secret with which the disk is encrypted; empty where it is not."""
        self.bench = bench

    def describe(self) -> dict[str, Any]:
        """What QEMU says of it (QAPI ImageInfo)."""
        return self.daemon.describe(self.name)

    def write_format(self, options: Mapping[str, Any], *, seconds: float | None = None) -> None:
        """Write a format into it; options: of QAPI BlockdevCreateOptions, without ``file``."""
        self.daemon.create({**options, "file": self.name}, seconds=seconds or self.bench.open_timeout)

    def resize(self, size: int) -> None:
        """size: bytes."""
        self.daemon.execute("block_resize", {"node-name": self.name, "size": size}, seconds=self.bench.open_timeout)

    @property
    def _socket(self) -> str:
        return f"{self.bench.folder}/{id(self.daemon)}.sock"

    @contextlib.contextmanager
    def served(self, *, writable: bool) -> Iterator[str]:
        """The URI at which NBD clients on this host find it."""
        with self.daemon.exported(self.name, self._socket, writable=writable) as uri:
            yield uri

    @contextlib.contextmanager
    def accessed(self) -> Iterator[NbdClient]:
        """Its bytes, to be read."""
        with (
            self.served(writable=False),
            NbdClient(self._socket, self.name, seconds=self.bench.open_timeout) as client,
        ):
            yield client

    def header(self) -> Header:
        """What its first bytes say of it."""
        with self.accessed() as client:
            return read_header(client.read(0, HEAD))


class Storage(OpenNode):
    """The protocol node of a disk; its format is opened above it."""

    def __init__(
        self, daemon: StorageDaemon, name: str, bench: Workbench, key: str, disk: Disk, formats: list[Node]
    ) -> None:
        super().__init__(daemon, name, bench, key)
        self._disk = disk
        self._formats = formats

    @contextlib.contextmanager
    def image(self) -> Iterator[OpenNode]:
        """The node that holds what a guest would see."""
        first, *others = self._formats
        with self.daemon.nodes([{**first, **self._beneath()}, *others], seconds=self.bench.open_timeout):
            image = OpenNode(self.daemon, self._formats[-1]["node-name"], self.bench, self.key)
            self._refuse_other_files(image)
            yield image

    def _refuse_other_files(self, image: OpenNode) -> None:
        """A server can answer otherwise the second time: what counts is the header that QEMU has read."""
        named = opened_by_header(self.daemon.describe(image.name, chain=True))
        if named:
            raise HostError(f"its header has had {named} opened; such an image is not used")
        if not self._disk.provision.get("backing"):
            self.daemon.refuse_strangers()

    def _beneath(self) -> Node:
        """QEMU would open whatever file of this host the header of an image names: nobody has said that it may."""
        if self._disk.settings["format"] != "qcow2":
            return {}
        header = self.header()
        if header.format != "qcow2":
            words, _advice = file_kind(header.head)
            raise HostError(f"it is {words}" if words else "Image is not in qcow2 format")
        if header.external:
            raise HostError("its data is in another file, as its header says; such an image is not opened")
        declared = self._disk.provision.get("backing") or {}
        if header.backing and header.backing != declared.get("file"):
            raise HostError(
                f"it stands on {header.backing}, as its header says; flatten it, or declare that as backing"
            )
        return {} if header.backing else {"backing": None}


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


def _read(path: str) -> str:
    with open(path, encoding="utf-8") as stream:
        return stream.read()


def _write(path: str, text: str) -> str:
    """A file for whoever owns its folder."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as stream:
        owner = os.stat(os.path.dirname(path))
        os.fchown(stream.fileno(), owner.st_uid, owner.st_gid)
        stream.write(text)
    return path


def _quietly(call: Callable[[str], None], argument: str) -> None:
    with contextlib.suppress(HostError):
        call(argument)
