# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A test double of Ceph's Python bindings, rados and rbd: one cluster with one pool, in memory."""

from __future__ import annotations

import itertools
import sys
from types import ModuleType
from typing import Any

import pytest

FSID = "439006c4-d007-4399-8c3c-8814d8e6ff6b"
DEFAULTS = {
    "rbd_default_features": "1",
    "rbd_default_order": "22",
    "rbd_default_stripe_unit": "0",
    "rbd_default_stripe_count": "0",
    "rbd_default_data_pool": "",
    "rbd_default_clone_format": "2",
    "rbd_cache": "true",
}


Rows = list[dict[str, Any]]


class Error(Exception):
    """As the bindings raise them."""

    __module__ = "rbd"
    errno = 0


class ImageNotFound(Error):
    pass


class ImageExists(Error):
    pass


class ImageBusy(Error):
    pass


class PermissionError(Error):
    pass


class ObjectNotFound(Error):
    pass


class Stored:
    """An image as the cluster has it."""

    numbers = itertools.count(1)

    def __init__(self, size: int, features: int, order: int) -> None:
        self.data = bytearray(size)
        self.features, self.order = features, order
        self.identifier = f"id{next(self.numbers)}"
        self.snapshots: dict[str, bytes] = {}
        self.protected: set[str] = set()
        self.texts: dict[str, str] = {}
        self.watchers: list[str] = []


class Ceph:
    """The cluster, its connection and its pool at once."""

    def __init__(self) -> None:
        self.images: dict[str, Stored] = {}
        self.trash: dict[str, tuple[str, Stored]] = {}
        self.blocklist: list[str] = []

    # rados.Rados and its pool
    def __call__(self, rados_id: str) -> Ceph:
        return self

    def conf_get(self, name: str) -> str:
        return "0"

    def open_ioctx(self, name: str) -> Ceph:
        return self

    def get_fsid(self) -> str:
        return FSID

    def pool_exists(self, name: str) -> bool:
        return name == "vms"

    def blocklist_add(self, address: str) -> None:
        self.blocklist.append(address)
        for stored in self.images.values():
            stored.watchers = [watcher for watcher in stored.watchers if watcher != address]

    def stat(self, name: str) -> None:
        if name.removeprefix("rbd_id.") not in self.images:
            raise ObjectNotFound

    def nothing(self, *_arguments: Any) -> None:
        """conf_read_file, conf_set, connect, set_namespace, close and shutdown."""

    conf_read_file = conf_set = connect = set_namespace = close = shutdown = nothing

    # rbd.RBD
    def config_list(self, pool: Any) -> list[dict[str, str]]:
        return [{"name": name, "value": value} for name, value in DEFAULTS.items()]

    def list(self, pool: Any) -> list[str]:
        return sorted(self.images)

    def create(self, pool: Any, name: str, size: int, *, features: int, order: int, **_layout: Any) -> None:
        if name in self.images:
            raise ImageExists
        self.images[name] = Stored(size, features, order)

    def rename(self, pool: Any, old: str, new: str) -> None:
        if new in self.images:
            raise ImageExists
        self.images[new] = self.images.pop(old)

    def remove(self, pool: Any, name: str) -> None:
        if name not in self.images:
            raise ImageNotFound
        if self.images[name].watchers or self.images[name].snapshots:
            raise ImageBusy
        del self.images[name]

    def trash_move(self, pool: Any, name: str, seconds: int) -> None:
        stored = self.images.pop(name)
        self.trash[stored.identifier] = (name, stored)

    def trash_list(self, pool: Any) -> Rows:
        return [{"id": identifier, "name": name} for identifier, (name, _stored) in self.trash.items()]

    def trash_restore(self, pool: Any, identifier: str, name: str) -> None:
        self.images[name] = self.trash.pop(identifier)[1]

    # rbd.Image
    def open(self, pool: Any, name: str = "", *, image_id: str = "", snapshot: Any = None, **_mode: Any) -> Image:
        stored = self.trash[image_id][1] if image_id else self.images.get(name)
        if stored is None:
            raise ImageNotFound
        return Image(stored)


class Image:
    """An open image."""

    def __init__(self, stored: Stored) -> None:
        self._stored = stored
        self._snapshot: str | None = None

    def __enter__(self) -> Image:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        pass

    @property
    def _data(self) -> bytes:
        return self._stored.snapshots[self._snapshot] if self._snapshot else bytes(self._stored.data)

    def id(self) -> str:
        return self._stored.identifier

    def size(self) -> int:
        return len(self._data)

    def read(self, offset: int, length: int) -> bytes:
        return self._data[offset : offset + length]

    def features(self) -> int:
        return self._stored.features

    def update_features(self, bits: int, enabled: bool) -> None:
        self._stored.features = self._stored.features | bits if enabled else self._stored.features & ~bits

    def stat(self) -> dict[str, int]:
        return {"size": self.size(), "obj_size": 1 << self._stored.order}

    def stripe_unit(self) -> int:
        return 1 << self._stored.order

    def stripe_count(self) -> int:
        return 1

    def list_snaps(self) -> Rows:
        return [{"name": name, "namespace": 0} for name in self._stored.snapshots]

    def create_snap(self, name: str) -> None:
        self._stored.snapshots[name] = bytes(self._stored.data)

    def remove_snap(self, name: str) -> None:
        assert name not in self._stored.protected
        del self._stored.snapshots[name]

    def set_snap(self, name: str | None) -> None:
        self._snapshot = name

    def is_protected_snap(self, name: str) -> bool:
        return name in self._stored.protected

    def protect_snap(self, name: str) -> None:
        self._stored.protected.add(name)

    def unprotect_snap(self, name: str) -> None:
        self._stored.protected.remove(name)

    def rollback_to_snap(self, name: str) -> None:
        self._stored.data[:] = self._stored.snapshots[name]

    def diff_iterate(self, offset: int, length: int, since: str, tell: Any, *_how: bool) -> None:
        tell(offset, length, True)

    def list_children2(self) -> Rows:
        return []

    def get_parent_image_spec(self) -> None:
        raise ImageNotFound

    def watchers_list(self) -> Rows:
        return [{"addr": watcher} for watcher in self._stored.watchers]

    def list_lockers(self) -> dict[str, Any]:
        return {}

    def resize(self, size: int, *, allow_shrink: bool = False) -> None:
        self._stored.data[:] = bytes(self._stored.data[:size]).ljust(size, b"\0")

    def metadata_list(self) -> list[tuple[str, str]]:
        return sorted(self._stored.texts.items())

    def metadata_set(self, key: str, text: str) -> None:
        self._stored.texts[key] = text

    def metadata_remove(self, key: str) -> None:
        del self._stored.texts[key]


def install(monkeypatch: pytest.MonkeyPatch) -> Ceph:
    """Have both bindings be the double; its cluster."""
    ceph = Ceph()
    rados: Any = ModuleType("rados")
    rbd: Any = ModuleType("rbd")
    rados.Rados, rados.Error, rados.ObjectNotFound = ceph, Error, ObjectNotFound
    rbd.RBD, rbd.Image = lambda: ceph, ceph.open
    for error in (Error, ImageNotFound, ImageExists, ImageBusy, PermissionError):
        setattr(rbd, error.__name__, error)
    monkeypatch.setitem(sys.modules, "rados", rados)
    monkeypatch.setitem(sys.modules, "rbd", rbd)
    return ceph
