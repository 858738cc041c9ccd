# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two spellings of one storage are one storage, as far as anybody can tell; where nobody can, that is said."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._backends import uris
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.identities import (
    doubts,
    identities,
    names_in,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.read_vm import read_vms
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.shared_disks import (
    OpenStorage,
    refuse_shared_disks,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DirectDiskError
from ansible_collections.directdisk.qemu.plugins.module_utils._host import names
from ansible_collections.directdisk.qemu.tests.unit.support import SSH, disk_of, vm

FSIDS = [f"{digit * 8}-aaaa-bbbb-cccc-dddddddddddd" for digit in "12"]
GLUSTER = {"volume": "v", "path": "x"}
RESOLVED = {
    "store": ["192.0.2.5"],
    "store.example": ["192.0.2.5", "2001:db8::5"],
    "other": ["192.0.2.6"],
    "/srv/a": ["inode:1:2"],
    "/srv/link": ["inode:1:2"],
    "/dev/loop7": ["inode:1:2"],
    "/dev/sdb": ["device:8:16"],
    "/dev/disk/by-id/wwn-1": ["device:8:16"],
    "/dev/sdb1": ["device:8:17", "within:device:8:16"],
    "/dev/sdb2": ["device:8:18", "within:device:8:16"],
    "/dev/loop7p1": ["device:259:0", "within:inode:1:2"],
    "/run/a.sock": ["inode:1:9"],
    "/run/b.sock": ["inode:1:9"],
}


def disk(given: dict[str, Any], **settings: Any) -> Disk:
    return vm(disk_of(given, **settings)).disks[0]


def nfs(host: str) -> dict[str, Any]:
    return {"nfs": {"host": host, "path": "/vms/a"}}


def nbd(host: str, **more: Any) -> dict[str, Any]:
    return {"nbd": {"host": host, "export": "e", **more}}


def sheep(host: str) -> dict[str, Any]:
    return {"sheepdog": {"host": host, "vdi": "a"}}


def ssh(**values: Any) -> dict[str, Any]:
    return {"ssh": {**SSH, "host": "h", "user": "joe", **values}}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("::ffff:192.0.2.5", "192.0.2.5"),
        ("::FFFF:c000:0205", "192.0.2.5"),
        ("64:ff9b::192.0.2.5", "192.0.2.5"),
        ("64:FF9B:0::c000:205", "192.0.2.5"),
        ("::ffff:0.0.0.0", "127.0.0.1"),
        ("Store.Example.", "store.example"),
        ("2001:DB8:0::5", "2001:db8::5"),
        ("192.0.517", "192.0.2.5"),
        ("0xc0000205", "192.0.2.5"),
        ("0300.0.2.5", "192.0.2.5"),
        ("3221225989", "192.0.2.5"),
        ("::ffff:127.0.0.1", "127.0.0.1"),
        ("::1", "127.0.0.1"),
        ("0.0.0.0", "127.0.0.1"),
        ("::", "127.0.0.1"),
        ("0", "127.0.0.1"),
    ],
)
def test_an_address_is_the_same_in_every_form(one: str, other: str) -> None:
    for given in (nfs, nbd, sheep):
        assert disk(given(one)).identity == disk(given(other)).identity
    assert uris.is_loopback(one) == uris.is_loopback(other)


@pytest.mark.parametrize(
    "address", ["64:ff9b::7f00:1", "64:ff9b::", "64:ff9b:1::c000:205", "64:ff9c::c000:205", "2002:c000:205::1"]
)
def test_an_address_that_may_be_another_server_stays_itself(address: str) -> None:
    assert uris.same_host(address) == address
    assert not uris.is_loopback(address)


@pytest.mark.parametrize("name", ["1.2.3.4.5", "256.1.1.1", "1.2.3.256", "0x", "089.1.1.1", "a.1", "1..2"])
def test_what_is_no_address_stays_a_name(name: str) -> None:
    assert uris.same_host(name) == name
    assert not uris.is_literal(name)


SAME = [
    (nfs("store"), nfs("192.0.2.5")),
    (nfs("store"), nfs("::ffff:192.0.2.5")),
    (nfs("store"), nfs("64:ff9b::192.0.2.5")),
    (nfs("store"), nfs("store.example")),
    (nfs("store.example"), nfs("2001:db8::5")),
    (nbd("store"), nbd("192.0.2.5", port=10809)),
    (nbd("store"), nbd("store.example")),
    ({"nbd": {"socket": "/run/a.sock"}}, {"nbd": {"socket": "/run/b.sock"}}),
    (sheep("store"), sheep("192.0.2.5")),
    (ssh(host="store", path="/a"), ssh(host="192.0.2.5", path="/a")),
    (ssh(path="images/a"), ssh(path="/home/joe/images/a")),
    ({"gluster": {**GLUSTER, "host": "store"}}, {"gluster": {**GLUSTER, "host": "192.0.2.5"}}),
    (
        {"gluster": {**GLUSTER, "servers": [{"host": "other"}, {"host": "store"}]}},
        {"gluster": {**GLUSTER, "host": "192.0.2.5"}},
    ),
    ({"rbd": {"pool": "p", "image": "i"}}, {"rbd": {"pool": "p", "image": "i", "fsid": FSIDS[0]}}),
    ({"file": {"filename": "/srv/a"}}, {"file": {"filename": "/srv/link"}}),
    ({"file": {"filename": "/srv/a"}}, {"host_device": {"filename": "/dev/loop7"}}),
    ({"host_device": {"filename": "/dev/sdb"}}, {"host_device": {"filename": "/dev/disk/by-id/wwn-1"}}),
    ({"host_device": {"filename": "/dev/sdb1"}}, {"host_device": {"filename": "/dev/disk/by-id/wwn-1"}}),
    ({"file": {"filename": "/srv/a"}}, {"host_device": {"filename": "/dev/loop7p1"}}),
]
APART = [
    (nfs("store"), nfs("other")),
    (nfs("store"), {"nfs": {"host": "192.0.2.5", "path": "/vms/b"}}),
    (nbd("store"), nbd("192.0.2.5", port=1)),
    (ssh(path="images/a"), ssh(path="/home/joe/images/b")),
    (ssh(path="images/a"), ssh(path="/home/joe/a")),
    ({"rbd": {"pool": "p", "image": "i", "fsid": FSIDS[1]}}, {"rbd": {"pool": "p", "image": "i", "fsid": FSIDS[0]}}),
    ({"file": {"filename": "/srv/a"}}, {"host_device": {"filename": "/dev/sdb"}}),
    ({"host_device": {"filename": "/dev/sdb1"}}, {"host_device": {"filename": "/dev/sdb2"}}),
]


@pytest.mark.parametrize("turn", [1, -1])
@pytest.mark.parametrize(("one", "other"), SAME)
def test_one_storage_by_two_names_is_not_written_twice(one: Any, other: Any, turn: int) -> None:
    vms = dict(zip("ab", [disk_of(one), disk_of(other, writes="deny")][::turn]))
    first, second = (disk(given) for given in (one, other))
    assert identities(first, RESOLVED).same(identities(second, RESOLVED))
    with pytest.raises(DirectDiskError, match="is the same storage as disk root of a, and one of them writes to it"):
        refuse_shared_disks(read_vms(vms), {}, RESOLVED)


@pytest.mark.parametrize(("one", "other"), APART)
def test_two_storages_are_not_taken_for_one(one: Any, other: Any) -> None:
    refuse_shared_disks(read_vms({"a": disk_of(one), "b": disk_of(other)}), {}, RESOLVED)


def test_what_two_only_read_may_be_the_same() -> None:
    vms = {name: disk_of(nfs(host), writes="deny") for name, host in (("a", "store"), ("b", "192.0.2.5"))}
    refuse_shared_disks(read_vms(vms), {}, RESOLVED)


def test_what_runs_without_a_declaration_is_found_by_the_address_of_a_name() -> None:
    opened = {"old": [OpenStorage(identities(disk(nfs("192.0.2.5")), {}), writes=True)]}
    with pytest.raises(DirectDiskError, match="is the same storage as a disk of old"):
        refuse_shared_disks(read_vms({"a": disk_of(nfs("store"))}), opened, RESOLVED)


def test_only_what_may_mean_something_else_is_resolved() -> None:
    assert names_in(disk(nfs("192.0.2.5"))) == []
    assert names_in(disk(nbd("store"))) == ["store"]
    assert names_in(disk({"file": {"filename": "/srv/a"}})) == ["/srv/a"]
    assert names_in(disk({"gluster": {**GLUSTER, "servers": [{"host": "a"}, {"socket": "/s"}]}})) == ["a", "/s"]


def doubtful(one: Any, other: Any, **settings: Any) -> list[tuple[str, str]]:
    return doubts([("a", disk(one, **settings)), ("b", disk(other, **settings))], RESOLVED)


def test_what_nobody_can_tell_is_said() -> None:
    ((where, why),) = doubtful(nbd("store"), nbd("store", port=1))
    assert (where, why) == (
        "b",
        "may be the same storage as a (nbd store:10809/e): NBD does not tell if one export at two ports is the same; "
        "let both use one port if it is",
    )
    ((where, why),) = doubtful(nfs("192.0.2.5"), nfs("unknown"))
    assert why.endswith(": one is given by a name that is not resolved, one by an address")


def test_what_can_be_told_is_no_doubt() -> None:
    for one, other in (*APART[:2], (nbd("h"), nbd("h")), ({"nbd": {"host": "h"}}, {"nbd": {"host": "h", "port": 1}})):
        assert doubtful(one, other) == []
    assert doubtful(nfs("unknown"), nfs("unheard")) == []
    assert doubtful(nbd("store"), nbd("store", port=1), writes="deny") == []


def test_a_path_is_what_it_leads_to(tmp_path: Path) -> None:
    image, link, hard = tmp_path / "image", tmp_path / "link", tmp_path / "hard"
    image.write_bytes(b"")
    link.symlink_to(image)
    os.link(image, hard)
    found = names.resolve([str(path) for path in (image, link, hard, tmp_path, tmp_path / "none")])
    assert found[str(image)] == found[str(link)] == found[str(hard)] != found[str(tmp_path)]
    assert found[str(tmp_path / "none")] == []


def test_a_server_is_its_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    def look_up(name: str, *_arguments: Any, **_more: Any) -> list[Any]:
        if name == "slow":
            time.sleep(5)
        if name == "gone":
            raise socket.gaierror
        return [(0, 0, 0, "", (address, 0)) for address in ("192.0.2.7", "192.0.2.6", "192.0.2.7")]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    monkeypatch.setattr(names, "SECONDS", 0.2)
    assert names.resolve(["store", "gone", "slow"]) == {"store": ["192.0.2.6", "192.0.2.7"], "gone": [], "slow": []}


def test_a_partition_and_a_mapping_are_parts_of_their_devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "_DEVICES", str(tmp_path / "dev"))
    disks = {"8:16": "sdb", "8:17": "sdb/sdb1", "253:0": "dm-0", "7:7": "loop7", "259:0": "loop7/loop7p1"}
    for number, place in disks.items():
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "dev").write_text(f"{number}\n")
        (tmp_path / "dev").mkdir(exist_ok=True)
        (tmp_path / "dev" / number).symlink_to(tmp_path / place)
        if "/" in place:
            (tmp_path / place / "partition").touch()
    (tmp_path / "dm-0" / "slaves").mkdir()
    (tmp_path / "dm-0" / "slaves" / "sdb1").symlink_to(tmp_path / "sdb" / "sdb1")
    assert names._devices_below("8:16") == []
    assert names._devices_below("8:17") == ["8:16"]
    assert names._devices_below("253:0") == ["8:16", "8:17"]
    assert names._devices_below("259:0") == ["7:7"]
