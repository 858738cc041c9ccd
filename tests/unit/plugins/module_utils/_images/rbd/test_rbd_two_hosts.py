# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two hosts that make the same rbd image at once: one image stays, and nothing of another host is removed."""

from __future__ import annotations

import errno
import itertools
import sys
from types import ModuleType
from typing import Any

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import read_image
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import MadeMeanwhileError
from ansible_collections.directdisk.qemu.plugins.module_utils._host import host_mark
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.kinds import read_desired
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.rbd.changes import (
    CreateImage,
    RemoveAbandoned,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.rbd.observed import Layout
from ansible_collections.directdisk.qemu.plugins.module_utils._images.rbd import create, image, observe, remove

DISK = {"rbd": {"pool": "vms", "image": "web1"}, "size": "1MiB", "format": "qcow2"}
CREATE = CreateImage(1 << 20, Layout(("layering",), 4 << 20, stripe_unit=4 << 20, stripe_count=1, data_pool=""))
BENCH: Any = None


class Error(Exception):
    def __init__(self, number: int = 0) -> None:
        super().__init__()
        self.errno = number


class Ceph:
    """A test double of Ceph's bindings: images by name, with the clients that have them open."""

    class ImageExists(Error):
        pass

    class ImageNotFound(Error):
        pass

    class ImageBusy(Error):
        pass

    class PermissionError(Error):
        pass

    def __init__(self) -> None:
        self.images: dict[str, list[str]] = {}
        self.halves: set[str] = set()
        """Names that are taken and lead to no image."""
        self.events: list[str] = []

    def create(self, pool: Any, name: str, size: int, **layout: Any) -> None:
        if name in self.images or name in self.halves:
            raise Ceph.ImageExists
        self.images[name] = []

    def rename(self, pool: Any, old: str, new: str) -> None:
        if new in self.images or new in self.halves:
            raise Ceph.ImageExists
        self.events.append(f"rename {old} while open: {bool(self.images[old])}")
        self.images[new] = self.images.pop(old)

    def remove(self, pool: Any, name: str) -> None:
        if name in self.halves:
            self.halves.remove(name)
            return
        if name not in self.images:
            raise Ceph.ImageNotFound
        if self.images[name]:
            raise Ceph.ImageBusy
        del self.images[name]

    def list(self, pool: Any) -> list[str]:
        return sorted(self.images)

    def open(self, pool: Any, name: str = "", **_: Any) -> Image:
        if name not in self.images:
            raise Ceph.ImageNotFound
        return Image(self, name, writes="read_only" not in _)


class Image:
    def __init__(self, ceph: Ceph, name: str, *, writes: bool) -> None:
        self.clients = ceph.images[name]
        self.writes = writes
        if writes:
            self.clients.append("me")

    def watchers_list(self) -> list[dict[str, str]]:
        return [{"addr": client} for client in self.clients]

    def close(self) -> None:
        if self.writes:
            self.clients.remove("me")


@pytest.fixture
def ceph(monkeypatch: pytest.MonkeyPatch) -> Ceph:
    made = Ceph()
    bindings: Any = ModuleType("rbd")
    bindings.RBD, bindings.Image, bindings.Error = lambda: made, made.open, Error
    for error in (Ceph.ImageExists, Ceph.ImageNotFound, Ceph.ImageBusy, Ceph.PermissionError):
        setattr(bindings, error.__name__, error)
    monkeypatch.setitem(sys.modules, "rbd", bindings)

    class Cluster:
        fsid = "f"

        def pool(self, disk: Any) -> None:
            return None

    for module in (create, image, observe, remove):
        monkeypatch.setattr(module, "cluster_of", lambda disk, bench: Cluster())
    monkeypatch.setattr(create, "_write_format", lambda part, size, bench: made.events.append("format"))
    ticks = itertools.count()
    monkeypatch.setattr(create.time, "monotonic", lambda: next(ticks))
    monkeypatch.setattr(create.time, "sleep", lambda seconds: None)
    return made


def desired() -> Any:
    return read_desired(read_image("disk", DISK, "disk"), "disk")


def part(mark: str = "") -> str:
    return f"web1.directdisk-part-{mark or host_mark.host_mark()}"


def test_an_image_is_open_from_its_creation_until_it_has_its_name(ceph: Ceph) -> None:
    create.create(desired(), CREATE, BENCH)
    assert ceph.events == ["format", f"rename {part()} while open: True"]
    assert ceph.images == {"web1": []}


def test_who_comes_second_leaves_the_image_of_the_first_and_removes_its_own(ceph: Ceph) -> None:
    ceph.images["web1"] = ["other"]
    with pytest.raises(MadeMeanwhileError, match=r"^rbd vms/web1: another host created it meanwhile; run this again$"):
        create.create(desired(), CREATE, BENCH)
    assert ceph.images == {"web1": ["other"]}


def test_a_name_that_leads_nowhere_is_given_back(ceph: Ceph) -> None:
    """It was left by a renaming that met a removal; the next rename would fail over it for ever."""
    ceph.halves.add("web1")
    create.create(desired(), CREATE, BENCH)
    assert (list(ceph.images), ceph.halves) == (["web1"], set())


def test_two_hosts_that_remove_an_image_at_once_have_both_removed_it(
    ceph: Ceph, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: list[Error] = [Error(-errno.ESTALE), Ceph.ImageNotFound()]

    def refuse(pool: Any, name: str) -> None:
        raise answers.pop(0)

    monkeypatch.setattr(ceph, "remove", refuse)
    remove.remove_image(desired().disk, BENCH, "busy")
    assert answers == []
    answers.append(Error(-errno.EIO))
    with pytest.raises(Error):
        remove.remove_image(desired().disk, BENCH, "busy")


def test_unfinished_images_of_other_hosts_are_abandoned_only_where_nobody_has_them_open(ceph: Ceph) -> None:
    class Bench:
        def shared(self, key: Any, make: Any) -> Any:
            with make() as made:
                return made

    names = [part(), part("0123abcd"), part("11111111"), "web1.directdisk-part-x", "web10.directdisk-part-0123abcd"]
    ceph.images.update({name: [] for name in names})
    ceph.images[part("11111111")] = ["other"]
    bench: Any = Bench()
    assert observe._abandoned(desired().disk, bench) == [part("0123abcd")]


def test_an_unfinished_image_that_is_opened_meanwhile_stays(ceph: Ceph, monkeypatch: pytest.MonkeyPatch) -> None:
    name = part("0123abcd")
    ceph.images[name] = []
    monkeypatch.setattr(create.time, "sleep", lambda seconds: ceph.images[name].append("other"))
    remove.remove_abandoned(desired(), RemoveAbandoned(name), BENCH)
    assert ceph.images == {name: ["other"]}
    ceph.images[name] = []
    monkeypatch.setattr(create.time, "sleep", lambda seconds: None)
    remove.remove_abandoned(desired(), RemoveAbandoned(name), BENCH)
    assert ceph.images == {}


@pytest.mark.parametrize("changed", ["_MACHINE_ID", "nodename"])
def test_two_hosts_have_two_marks(changed: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """Also where one is a clone of the other, with its machine-id."""
    before = host_mark.host_mark()
    (tmp_path / "id").write_text("other\n")
    if changed == "_MACHINE_ID":
        monkeypatch.setattr(host_mark, "_MACHINE_ID", str(tmp_path / "id"))
    else:
        other = type("Name", (), {"nodename": "other"})
        monkeypatch.setattr(host_mark.os, "uname", lambda: other)
    assert host_mark.host_mark() != before


@pytest.mark.parametrize("force", [False, True])
def test_a_client_is_blocklisted_only_with_force(ceph: Ceph, monkeypatch: pytest.MonkeyPatch, force: bool) -> None:
    """It may have opened the image since the plan was made: another host that removes it, or a VM that starts."""
    listed: list[str] = []

    class Cluster:
        def __init__(self) -> None:
            self.handle = self

        def pool(self, disk: Any) -> None:
            return None

        def blocklist_add(self, address: str) -> None:
            listed.append(address)

    for module in (create, image, observe, remove):
        monkeypatch.setattr(module, "cluster_of", lambda disk, bench: Cluster())
    ceph.images["web1"] = ["vm"]
    given = {**DISK, "provision": {"force": force}}
    remove._evict(read_desired(read_image("disk", given, "disk"), "disk"), BENCH)
    assert listed == (["vm"] if force else [])
