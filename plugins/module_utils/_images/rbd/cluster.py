# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Connects to Ceph clusters with Ceph's own Python bindings, and translates their errors.

Options that a declaration leaves out have the same values as for QEMU: both read one configuration.
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

from ansible_collections.directdisk.qemu.plugins.module_utils._access.workspace import FolderResources, Workspace
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
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.rbd.options import OF_THE_IMAGE

_BOUNDED = ("client_mount_timeout", "rados_mon_op_timeout", "rados_osd_op_timeout")
"""Timeouts of Ceph, in seconds; the default of some is no timeout."""

_NUMBERS = itertools.count()


class Cluster:
    """A connection to a cluster, with the pools that were opened over it."""

    def __init__(self, handle: Any) -> None:
        self.handle = handle
        self.fsid = str(handle.get_fsid())
        self._pools: dict[tuple[str, str], Any] = {}
        self._defaults: dict[str, dict[str, str]] = {}

    def pool(self, disk: Disk) -> Any:
        """Open the pool and namespace of a disk."""
        name, namespace = disk.source["pool"], disk.source.get("namespace", "")
        if (name, namespace) not in self._pools:
            with speaking_of(disk, f"error opening pool {name}"):
                opened = self.handle.open_ioctx(name)
                opened.set_namespace(namespace)
            self._pools[(name, namespace)] = opened
        return self._pools[(name, namespace)]

    def defaults(self, disk: Disk) -> dict[str, str]:
        """Return a pool's configuration of images and their clients: Ceph's options that start with rbd_."""
        import rbd

        pool = disk.source["pool"]
        if pool not in self._defaults:
            with speaking_of(disk, f"error reading the configuration of pool {pool}"):
                options = rbd.RBD().config_list(self.pool(disk))
                self._defaults[pool] = {option["name"]: option["value"] for option in options}
        return self._defaults[pool]

    def understands(self, name: str, text: str) -> bool:
        """Tell if Ceph's client can read the value of an option."""
        import rados

        try:
            rados.Rados(rados_id="").conf_set(name, text)
        except rados.Error:
            return False
        return True

    def ask(self, command: str) -> str:
        """Run a command on a monitor, and return its output."""
        status, answer, message = self.handle.mon_command(json.dumps({"prefix": command}), b"")
        if status:
            raise HostError(f"{command}: {message}")
        return str(answer.decode()).strip()

    def pool_name(self, number: int) -> str:
        return str(self.handle.pool_reverse_lookup(number))

    def close(self) -> None:
        for pool in self._pools.values():
            pool.close()
        self.handle.shutdown()


def cluster_of(disk: Disk, bench: Workspace) -> Cluster:
    """Return the connection to a disk's cluster as its user; all disks with the same cluster and user share it."""
    values = {name: value for name, value in disk.source.items() if name not in (*OF_THE_IMAGE, "networks")}
    key = ("rados", *sorted((name, repr(value)) for name, value in values.items()))
    with speaking_of(disk):
        return bench.shared(key, lambda: _connected(values, bench))


@contextlib.contextmanager
def _connected(values: Values, bench: Workspace) -> Iterator[Cluster]:
    import rados

    handle = rados.Rados(rados_id=user_of(values))
    with translated("error reading conf file"):
        handle.conf_read_file(_configuration(values, bench))
    for name, value in {**_settings(values), **_bounds(handle, bench.open_timeout)}.items():
        handle.conf_set(name, value)
    with translated("error connecting"):
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
        return configuration(values, FolderResources(bench.folder, f"rados{next(_NUMBERS)}"))
    except OSError as error:
        raise HostError(f"error reading conf file {error.filename}: {error.strerror}") from None


def _settings(values: Values) -> dict[str, str]:
    """Return the options that are not part of the configuration file, as QEMU sets them."""
    key = {"key": _readable(values["key"])} if "key" in values else {}
    return {**key, **client_settings(values)}


def _readable(key: str) -> str:
    """Refuse a key that Ceph cannot read, because Ceph would write it to stderr."""
    try:
        packed = base64.b64decode(key, validate=True)
        _kind, _seconds, _nanoseconds, length = struct.unpack_from("<HIIH", packed)
    except (binascii.Error, struct.error):
        packed, length = b"", -1
    if len(packed) != 12 + length:
        raise DeclarationError("key", "is not a Ceph key; get it with ceph auth get-key")
    return key


def bounded(disk: Disk, seconds: float) -> Disk:
    """Return the disk with a timeout: by default Ceph waits for ever for lost OSDs and for space in a full pool."""
    if disk.backend is not BACKEND:
        return disk
    config = {"rados_osd_op_timeout": int(seconds), **disk.source.get("config", {})}
    return replace(disk, source={**disk.source, "config": config})


def _bounds(handle: Any, seconds: float) -> dict[str, str]:
    """Return Ceph's timeouts, limited to the seconds of the workspace."""
    configured = {name: float(handle.conf_get(name)) for name in _BOUNDED}
    return {name: str(max(int(min(value or seconds, seconds)), 1)) for name, value in configured.items()}


@contextlib.contextmanager
def speaking_of(disk: Disk, doing: str = "") -> Iterator[None]:
    """Add the disk, and the hints of its backend, to errors of Ceph and QEMU."""
    try:
        with translated(doing):
            yield
    except HostError as error:
        raise explained(disk, error) from None


@contextlib.contextmanager
def translated(doing: str) -> Iterator[None]:
    """Translate errors of Ceph's bindings to QEMU's form, so that one table of hints fits both."""
    try:
        yield
    except Exception as error:
        if type(error).__module__ not in ("rados", "rbd"):
            raise
        number = getattr(error, "errno", None)
        message = os.strerror(abs(number)) if number else str(error)
        raise HostError(f"{doing}: {message}" if doing else message) from None
