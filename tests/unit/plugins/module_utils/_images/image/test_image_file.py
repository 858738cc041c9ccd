# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How an image is built that becomes a file."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any
from unittest.mock import MagicMock

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import read_image
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import (
    AlreadyExistsError,
    HostError,
    MadeMeanwhileError,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.image.changes import CreateImage
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.kinds import read_desired
from ansible_collections.directdisk.qemu.plugins.module_utils._images.image import file

GLUSTER = {"gluster": {"volume": "gv", "path": "a", "host": "192.0.2.7"}}
NFS = {"nfs": {"host": "192.0.2.7", "path": "/export/a"}}


class Store:
    """Stands in for the storage: it writes down what it is asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.storage = self

    @contextlib.contextmanager
    def files(self, disk: Any, bench: Any) -> Iterator[Store]:
        yield self

    def path(self, disk: Any) -> str:
        return "a"

    def make(self, path: str) -> None:
        self.asked.append(f"make {path}")

    def remove(self, path: str) -> None:
        self.asked.append(f"remove {path}")


def build(monkeypatch: pytest.MonkeyPatch, declared: dict[str, Any], *, crashes: int) -> list[str]:
    """What the storage is asked for while QEMU builds an image, and crashes so many times."""
    desired = read_desired(read_image("disk", {**declared, "size": "1MiB"}, "disk"), "disk")
    store: Any = Store()

    def crash(*_: Any) -> None:
        store.asked.append("build")
        if store.asked.count("build") <= crashes:
            raise HostError("QEMU does not answer: Connection reset by peer")

    monkeypatch.setattr(file, "_build", crash)
    bench: Any = None
    with contextlib.suppress(HostError):
        file._build_with_retry(desired, desired.disk, store, 1 << 20, bench)
        store.asked.append("built")
    return list(store.asked)


def test_what_may_crash_qemu_over_closing_is_built_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    assert build(monkeypatch, GLUSTER, crashes=0) == ["build", "built"]
    assert build(monkeypatch, GLUSTER, crashes=1) == ["build", "remove a", "make a", "build", "built"]
    assert build(monkeypatch, GLUSTER, crashes=2) == ["build", "remove a", "make a", "build"]


def test_what_fails_elsewhere_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert build(monkeypatch, NFS, crashes=1) == ["build"]


def test_an_image_that_another_host_has_put_there_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    class Taken(Store):
        def put(self, path: str, place: str, *, overwrite: bool) -> None:
            raise AlreadyExistsError(f"{place} is there")

    desired = read_desired(read_image("disk", {**NFS, "size": "1MiB"}, "disk"), "disk")
    store: Any = Taken()
    store.at = lambda disk, path: disk
    monkeypatch.setattr(file, "STORES", {"nfs": store})
    monkeypatch.setattr(file, "_build", lambda *_: None)
    bench: Any = None
    with pytest.raises(MadeMeanwhileError, match=r"^nfs 192.0.2.7:/export/a: another host created it meanwhile"):
        file.create(desired, CreateImage(1 << 20), bench)
    aside = file.temporary("a")
    assert store.asked == [f"make {aside}", f"remove {aside}"]


def test_an_image_on_an_export_grows_within_it() -> None:
    image = MagicMock()
    bench = MagicMock(image=MagicMock(return_value=contextlib.nullcontext(image)))
    disk = read_image("disk", {"nbd": {"host": "192.0.2.5"}, "format": "qcow2"}, "disk")
    file._resize(disk, 1 << 20, bench)
    image.resize.assert_called_once_with(1 << 20)
