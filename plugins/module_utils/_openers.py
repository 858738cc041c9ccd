# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The routes, without systemd: what must run so that a disk can be opened for a short while."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ansible_collections.directdisk.qemu.plugins.module_utils import _ssh_agent
from ansible_collections.directdisk.qemu.plugins.module_utils._backend import Node, Reach
from ansible_collections.directdisk.qemu.plugins.module_utils._choice import choose_route
from ansible_collections.directdisk.qemu.plugins.module_utils._disk import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError
from ansible_collections.directdisk.qemu.plugins.module_utils._folders import folder_for_a_while
from ansible_collections.directdisk.qemu.plugins.module_utils._helpers import helper
from ansible_collections.directdisk.qemu.plugins.module_utils._programs import (
    PYTHON,
    image_fetch,
    replaced,
    text_of,
    tgt_serve,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._routes import nbdkit, stage, tgt
from ansible_collections.directdisk.qemu.plugins.module_utils._sandbox import KNOWN_HOSTS
from ansible_collections.directdisk.qemu.plugins.module_utils._staging import copy_of
from ansible_collections.directdisk.qemu.plugins.module_utils._storage_daemon import UNTIL_OUR_END
from ansible_collections.directdisk.qemu.plugins.module_utils._wiring import Wiring

if TYPE_CHECKING:
    from ansible_collections.directdisk.qemu.plugins.module_utils._workbench import Workbench

DOWNLOADS = "/var/tmp"
"""On a disk: an image may not fit into memory."""


@dataclass(frozen=True)
class OpenedHere:
    """How this host's QEMU opens a disk for now."""

    node: Node
    """QEMU's protocol node."""
    prefix: tuple[str, ...] = ()
    """A command that prepares what QEMU must find, and then becomes QEMU."""
    environment: Mapping[str, str] = field(default_factory=dict)


@contextlib.contextmanager
def open_here(disk: Disk, wiring: Wiring, bench: Workbench) -> Iterator[OpenedHere]:
    """Open a disk by the route that is declared or works here; its helpers end with it."""
    route, _warning = choose_route(disk, bench.capabilities)
    with _OPENERS[route](disk, wiring, bench) as opened:
        yield opened


@contextlib.contextmanager
def _by_driver(disk: Disk, wiring: Wiring, bench: Workbench) -> Iterator[OpenedHere]:
    node = disk.backend.node(disk.source, wiring)
    environment = {}
    if wiring.identities:
        keys = tuple(wiring.identities.values())
        # One agent and one daemon for all disks with the same keys, and none that sees another's.
        environment["SSH_AUTH_SOCK"] = bench.own(
            keys, lambda: _ssh_agent.agent(wiring.identities, bench.folder, seconds=bench.open_timeout)
        )
    reach = disk.backend.reach(disk.source)
    yield OpenedHere(node, _surroundings(reach, bench, hermetic=bool(wiring.identities)), environment)


def _surroundings(reach: Reach, bench: Workbench, *, hermetic: bool) -> tuple[str, ...]:
    """What makes QEMU see declared files instead of the host's; hermetic: and no settings of ssh."""
    files = []
    if hermetic:
        files += ["", os.path.expanduser("~root/.ssh"), "", os.path.dirname(KNOWN_HOSTS)]
    if reach.known_hosts:
        # Hidden by now, if it is the system's own.
        files += [_kept(reach.known_hosts, bench), KNOWN_HOSTS]
    if reach.trust:
        files += [reach.trust, bench.capabilities.trust_store]
    if not files:
        return ()
    program = bench.file("replaced.py", text_of(replaced))
    return (*PYTHON, program, *files, "--")


def _kept(path: str, bench: Workbench) -> str:
    try:
        with open(path, encoding="utf-8") as stream:
            return bench.file(f"known_hosts.{abs(hash(path))}", stream.read())
    except FileNotFoundError:
        raise HostError(f"known_hosts file not found: {path}") from None


@contextlib.contextmanager
def _by_nbdkit(disk: Disk, wiring: Wiring, bench: Workbench) -> Iterator[OpenedHere]:
    path = f"{bench.folder}/{disk.name}.{id(wiring)}.nbdkit.sock"
    command = nbdkit.command(disk, wiring, path, "--foreground")
    with helper(command, path, seconds=bench.open_timeout):
        yield OpenedHere({"driver": "nbd", "server": {"type": "unix", "path": path}})


@contextlib.contextmanager
def _by_stage(disk: Disk, wiring: Wiring, bench: Workbench) -> Iterator[OpenedHere]:
    """The host's own copy, or one for now."""
    copy = copy_of(disk)
    if os.path.exists(copy):
        yield OpenedHere({"driver": "file", "filename": copy})
        return
    with folder_for_a_while(DOWNLOADS) as folder:
        copy, download = f"{folder}/image", stage.download_of(disk)
        own = [("--retry", "0"), ("--connect-timeout", f"{bench.open_timeout:.0f}")]
        options = [word for words in (*stage.curl_options(download, wiring), *own) for word in words]
        try:
            image_fetch.fetch_image(
                copy,
                download.url,
                options,
                wanted=disk.source.get("sha256", ""),
                begin=UNTIL_OUR_END,
                url_in_config=download.url_is_secret,
            )
        except image_fetch.Failed as error:
            raise HostError(str(error)) from None
        yield OpenedHere({"driver": "file", "filename": copy})


@contextlib.contextmanager
def _by_tgt(disk: Disk, wiring: Wiring, bench: Workbench) -> Iterator[OpenedHere]:
    """A tgtd at a loopback address of its own; its control socket is there before it listens to anybody."""
    store = tgt.store_of(disk)
    place = f"{bench.folder}/tgtd{id(wiring)}"
    portal = f"{tgt.loopback_address(bench.folder, f'{disk.name}{id(wiring)}')}:{tgt.PORT}"
    command = [tgt.PROGRAM, "--foreground", "--iscsi", f"portal={portal}"]
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "TGT_IPC_SOCKET": place}
    with helper(command, f"{place}.0", seconds=bench.open_timeout, environment=environment) as process:
        chap = f"{place}.chap"
        try:
            tgt_serve.serve(
                *(f"{place}.0", portal, tgt.TARGET, store.kind, store.name, chap, tgt.USER, str(bench.open_timeout)),
                pid=str(process.pid),
            )
        except (tgt_serve.Failed, tgt_serve.Refused, tgt_serve.Ended, OSError) as error:
            raise HostError(f"tgtd cannot open it: {error}") from None
        yield OpenedHere(tgt.node(portal, wiring.object("secret", "chap", file=chap)))


_OPENERS = {"driver": _by_driver, "nbdkit": _by_nbdkit, "stage": _by_stage, "tgt": _by_tgt}
