# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Connections to Ceph clusters by Ceph's own Python bindings, and their errors in words.

Everything that a declaration leaves out is what it is for QEMU: the two read one configuration.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import itertools
import json
import os
import struct
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._access.workspace import FolderWiring, Workspace
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.rbd.backend import BACKEND
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.rbd.ceph import (
    client_settings,
    configuration,
    user_of,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.values import Values
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.explain import explained
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError, HostError
from ansible_collections.directdisk.qemu.plugins.module_utils._images.rbd.options import OF_THE_IMAGE

_BOUNDED = ("client_mount_timeout", "rados_mon_op_timeout", "rados_osd_op_timeout")
"""Options of Ceph that say how long it waits, in seconds; of some the default is for ever."""

_NUMBERS = itertools.count()


class Cluster:
    """A connection, and the pools that were opened over it."""

    def __init__(self, handle: Any) -> None:
        self.handle = handle
        self.fsid = str(handle.get_fsid())
        self._pools: dict[tuple[str, str], Any] = {}
        self._defaults: dict[str, dict[str, str]] = {}

    def pool(self, disk: Disk) -> Any:
        """The pool and namespace of a disk, open."""
        name, namespace = disk.source["pool"], disk.source.get("namespace", "")
        if (name, namespace) not in self._pools:
            with speaking_of(disk, f"error opening pool {name}"):
                opened = self.handle.open_ioctx(name)
                opened.set_namespace(namespace)
            self._pools[(name, namespace)] = opened
        return self._pools[(name, namespace)]

    def defaults(self, disk: Disk) -> dict[str, str]:
        """What new images of a pool are like, and how its clients treat them: Ceph's options that start with rbd_."""
        import rbd

        pool = disk.source["pool"]
        if pool not in self._defaults:
            with speaking_of(disk, f"error reading the configuration of pool {pool}"):
                found = rbd.RBD().config_list(self.pool(disk))
                self._defaults[pool] = {option["name"]: option["value"] for option in found}
        return self._defaults[pool]

    def understands(self, name: str, text: str) -> bool:
        """Whether Ceph's client can read the value of an option."""
        import rados

        try:
            rados.Rados(rados_id="").conf_set(name, text)
        except rados.Error:
            return False
        return True

    def ask(self, command: str) -> str:
        """What a monitor answers."""
        status, answer, words = self.handle.mon_command(json.dumps({"prefix": command}), b"")
        if status:
            raise HostError(f"{command}: {words}")
        return str(answer.decode()).strip()

    def pool_name(self, number: int) -> str:
        return str(self.handle.pool_reverse_lookup(number))

    def close(self) -> None:
        for pool in self._pools.values():
            pool.close()
        self.handle.shutdown()


def cluster_of(disk: Disk, bench: Workspace) -> Cluster:
    """The connection to a disk's cluster as its user: one for all disks that say the same of both."""
    values = {name: value for name, value in disk.source.items() if name not in (*OF_THE_IMAGE, "networks")}
    key = ("rados", *sorted((name, repr(value)) for name, value in values.items()))
    with speaking_of(disk):
        return bench.shared(key, lambda: _connected(values, bench))


@contextlib.contextmanager
def _connected(values: Values, bench: Workspace) -> Iterator[Cluster]:
    import rados

    handle = rados.Rados(rados_id=user_of(values))
    with in_words("error reading conf file"):
        handle.conf_read_file(_configuration(values, bench))
    for name, value in {**_settings(values), **_bounds(handle, bench.open_timeout)}.items():
        handle.conf_set(name, value)
    with in_words("error connecting"):
        handle.connect()
    cluster = Cluster(handle)
    try:
        if values.get("fsid", cluster.fsid).lower() != cluster.fsid:
            raise HostError(f"the cluster behind these monitors is {cluster.fsid}; correct fsid or monitors")
        yield cluster
    finally:
        cluster.close()


def _configuration(values: Values, bench: Workspace) -> str:
    try:
        return configuration(values, FolderWiring(bench.folder, f"rados{next(_NUMBERS)}"))
    except OSError as error:
        raise HostError(f"error reading conf file {error.filename}: {error.strerror}") from None


def _settings(values: Values) -> dict[str, str]:
    """What is no matter of the configuration file, as QEMU sets it."""
    key = {"key": _readable(values["key"])} if "key" in values else {}
    return {**key, **client_settings(values)}


def _readable(key: str) -> str:
    """A key that Ceph can read: it writes one that it cannot to stderr."""
    try:
        packed = base64.b64decode(key, validate=True)
        _kind, _seconds, _nanoseconds, length = struct.unpack_from("<HIIH", packed)
    except (binascii.Error, struct.error):
        packed, length = b"", -1
    if len(packed) != 12 + length:
        raise DeclarationError("key", "is not a key of Ceph; ceph auth get-key shows it")
    return key


def bounded(disk: Disk, seconds: float) -> Disk:
    """A disk whose users give up: Ceph itself waits for ever for OSDs that are gone, and for room in a full pool."""
    if disk.backend is not BACKEND:
        return disk
    config = {"rados_osd_op_timeout": int(seconds), **disk.source.get("config", {})}
    return replace(disk, source={**disk.source, "config": config})


def _bounds(handle: Any, seconds: float) -> dict[str, str]:
    """No answer is waited for longer than the workbench allows."""
    said = {name: float(handle.conf_get(name)) for name in _BOUNDED}
    return {name: str(max(int(min(value or seconds, seconds)), 1)) for name, value in said.items()}


@contextlib.contextmanager
def speaking_of(disk: Disk, doing: str = "") -> Iterator[None]:
    """Errors of Ceph and of QEMU say which disk they are about, and what its backend knows of them."""
    try:
        with in_words(doing):
            yield
    except HostError as error:
        raise explained(disk, error) from None


@contextlib.contextmanager
def in_words(doing: str) -> Iterator[None]:
    """Errors of Ceph's bindings as QEMU would put them, so that one table of hints serves both."""
    try:
        yield
    except Exception as error:
        if type(error).__module__ not in ("rados", "rbd"):
            raise
        number = getattr(error, "errno", None)
        words = os.strerror(abs(number)) if number else str(error)
        raise HostError(f"{doing}: {words}" if doing else words) from None
