# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# pylint: disable=ansible-bad-function
"""The routes, without systemd: what must run so that a disk can be opened for a short while."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import IO

from ansible_collections.directdisk.qemu.plugins.module_utils._access import ssh_agent, web_image
from ansible_collections.directdisk.qemu.plugins.module_utils._access.confinement import Confinement, confinement
from ansible_collections.directdisk.qemu.plugins.module_utils._access.visible_files import open_regular
from ansible_collections.directdisk.qemu.plugins.module_utils._access.workspace import Workspace
from ansible_collections.directdisk.qemu.plugins.module_utils._backends._packed import UNPACKERS
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.access import Reach
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.resources import UnitResources
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.values import Node
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError
from ansible_collections.directdisk.qemu.plugins.module_utils._options.read import in_words
from ansible_collections.directdisk.qemu.plugins.module_utils._process.background import background_process
from ansible_collections.directdisk.qemu.plugins.module_utils._process.private_folders import private_folder
from ansible_collections.directdisk.qemu.plugins.module_utils._process.run import SYSTEM_PATH, run_program
from ansible_collections.directdisk.qemu.plugins.module_utils._programs import image_fetch, tgt_serve
from ansible_collections.directdisk.qemu.plugins.module_utils._programs.bounded_file import BoundedFile
from ansible_collections.directdisk.qemu.plugins.module_utils._routes import nbdkit, stage, tgt
from ansible_collections.directdisk.qemu.plugins.module_utils._routes.selection import choose_route

DOWNLOADS = "/var/tmp"
"""A folder on a disk, because an image may not fit into memory."""


@dataclass(frozen=True)
class OpenedHere:
    """The way in which QEMU on this host opens a disk during a run."""

    node: Node
    """QEMU's protocol node."""
    confinement: Confinement = field(default_factory=Confinement)
    """Permissions of QEMU, shared with other disks of the same confinement."""
    files: tuple[str, ...] = ()
    """Files of this host that QEMU opens for this disk alone."""
    environment: Mapping[str, str] = field(default_factory=dict)


@contextlib.contextmanager
def open_here(disk: Disk, resources: UnitResources, bench: Workspace) -> Iterator[OpenedHere]:
    """Open a disk by its declared route, or by one that works here; helper processes end with it."""
    route, _warning = choose_route(disk, bench.capabilities)
    with _OPENERS[route](disk, resources, bench) as opened:
        yield opened


@contextlib.contextmanager
def _by_driver(disk: Disk, resources: UnitResources, bench: Workspace) -> Iterator[OpenedHere]:
    node = {**disk.backend.access.root_members, **disk.backend.access.node(disk.source, resources)}
    environment = {}
    if resources.identities:
        keys = tuple(resources.identities.values())
        # Disks with the same keys share one agent and one daemon; no daemon sees the keys of others.
        environment["SSH_AUTH_SOCK"] = bench.own(keys, lambda: ssh_agent.agent(resources.identities, bench))
    reach = disk.backend.access.reach(disk.source)
    allowed = confinement(reach, trust_store=bench.capabilities.trust_store)
    yield OpenedHere(node, allowed, (*reach.files, *reach.devices, *reach.sockets), environment)


@contextlib.contextmanager
def _by_nbdkit(disk: Disk, resources: UnitResources, bench: Workspace) -> Iterator[OpenedHere]:
    path = f"{bench.folder}/{disk.name}.{id(resources)}.nbdkit.sock"
    plugin = nbdkit.plugin_of(disk, resources)
    command = nbdkit.command(
        disk,
        plugin,
        path,
        "--foreground",
        pins=bench.capabilities.pins,
        writable=plugin.writes and disk.writes == "keep",
    )
    reach = stage.reached(disk)
    allowed = confinement(reach)
    if plugin.pins:
        # nbdkit would take the page of a redirect for an image.
        web_image.ask(disk, resources, seconds=bench.open_timeout, begin=bench.confined(allowed))
    files = tuple((file, file) for file in (*reach.files, *reach.devices))
    allowed = replace(allowed, network=True, files=(*allowed.files, *files))
    with contextlib.ExitStack() as stack:
        folders, environment = [], dict(os.environ)
        if plugin.unpacks:
            folders.append(bench.new_folder(f"{stack.enter_context(private_folder(DOWNLOADS))}/w"))
            environment["TMPDIR"] = folders[0]
            allowed = replace(allowed, most=image_fetch.bounded(stage.most_of(disk), DOWNLOADS))
        begin = bench.confined(allowed, *folders)
        stack.enter_context(
            background_process(
                [*begin, bench.capabilities.programs[nbdkit.PROGRAM], *command],
                path,
                seconds=bench.open_timeout,
                environment=environment,
            )
        )
        yield OpenedHere({"driver": "nbd", "server": {"type": "unix", "path": path}})


@contextlib.contextmanager
def _by_stage(disk: Disk, resources: UnitResources, bench: Workspace) -> Iterator[OpenedHere]:
    """Open the host's copy, or fetch a temporary one."""
    copy = stage.copy_of(disk)
    if os.path.exists(copy):
        yield _copy(copy)
        return
    with private_folder(DOWNLOADS) as outer:
        folder = bench.new_folder(f"{outer}/w")
        copy, download = f"{folder}/image", stage.download_of(disk)
        own = [("--retry", "0"), ("--connect-timeout", f"{bench.open_timeout:.0f}"), stage.time_limit(disk)]
        options = [word for words in (*stage.curl_options(download, resources), *own) for word in words]
        allowed = confinement(stage.followed(disk, disk.backend.access.reach(disk.source)))
        try:
            with bench.progress.step("download", None, lambda: os.stat(f"{copy}.part").st_size):
                image_fetch.fetch_image(
                    *(copy, download.url, options),
                    sha256=disk.source.get("sha256", ""),
                    places=stage.places_of(disk),
                    begin=bench.confined(allowed, folder),
                    most=stage.most_of(disk),
                    url_in_config=download.url_is_secret,
                )
        except image_fetch.Failed as error:
            raise HostError(str(error)) from None
        yield _copy(copy)


@contextlib.contextmanager
def unpacked(disk: Disk, opened: OpenedHere, bench: Workspace) -> Iterator[OpenedHere]:
    """Unpack an image that has been opened as a file, by a confined program of the host."""
    program, *options = UNPACKERS[disk.packed]
    if opened.node["driver"] != "file":
        raise HostError(f"{disk.packed} is unpacked from a file or a copy only; leave route out")
    if not shutil.which(program):
        raise HostError(f"{program} is not installed on this host; install it, or unpack the image")
    with private_folder(DOWNLOADS) as outer:
        folder = bench.new_folder(f"{outer}/w")
        copy = f"{folder}/image"
        most = image_fetch.bounded(stage.most_of(disk), DOWNLOADS)
        begin = bench.confined(Confinement(most=most), folder)
        with _open(opened.node["filename"]) as packed, open(copy, "xb") as image, BoundedFile() as errors:
            done = subprocess.run(
                [*begin, program, *options], stdin=packed, stdout=image, stderr=errors.handle, check=False
            )
            message = errors.text().strip()
        if done.returncode:
            if os.path.getsize(copy) >= most:
                message = f"unpacked, it is larger than {in_words(most)}; declare a larger provision: max_size"
            raise HostError(f"{program} cannot unpack it: {message or f'status {done.returncode}'}")
        bench.give(copy)
        yield _copy(copy)


def _open(path: str) -> IO[bytes]:
    try:
        return open_regular(path)
    except OSError as error:
        raise HostError(f"Could not open '{path}': {error.strerror}") from None


def _copy(path: str) -> OpenedHere:
    return OpenedHere({"driver": "file", "filename": path}, Confinement(opens=True), (path,))


@contextlib.contextmanager
def _by_tgt(disk: Disk, resources: UnitResources, bench: Workspace) -> Iterator[OpenedHere]:
    """Start a tgtd at a loopback address of its own; its control socket exists before it listens."""
    store = tgt.store_of(disk)
    place = f"{bench.folder}/tgtd{id(resources)}"
    portal = f"{tgt.loopback_address(bench.folder, f'{disk.name}{id(resources)}')}:{tgt.PORT}"
    command = [tgt.PROGRAM, "--foreground", "--iscsi", f"portal={portal}"]
    environment = {"PATH": SYSTEM_PATH, "TGT_IPC_SOCKET": place}
    reached = confinement(disk.backend.access.reach(disk.source), Reach(servers=(tgt.LOOPBACK,)))
    begin = bench.confined(replace(reached, listens=True))
    with background_process(
        [*begin, *command], f"{place}.0", seconds=bench.open_timeout, environment=environment
    ) as process:
        chap = f"{place}.chap"
        arguments = (
            *(tgt_serve.PORT_CHECKED, f"{place}.0", portal, tgt.TARGET, store.kind, store.name, chap, tgt.USER),
            str(bench.open_timeout),
        )
        # tgtd accepts commands of its own user only.
        try:
            tgt_serve.check_port(portal)
            run_program(tgt_serve, arguments, seconds=2 * bench.open_timeout, begin=begin, pid=process.pid)
        except (HostError, tgt_serve.Failed) as error:
            raise HostError(f"tgtd cannot open it: {str(error).removeprefix(f'{store.name}: ')}") from None
        allowed = confinement(Reach(servers=(tgt.LOOPBACK,)))
        yield OpenedHere(tgt.node(portal, resources.object("secret", "chap", file=chap)), allowed)


_OPENERS = {"driver": _by_driver, "nbdkit": _by_nbdkit, "stage": _by_stage, "tgt": _by_tgt}
