# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a connection to a Ceph cluster is made from a declaration, and what its errors become."""

from __future__ import annotations

import base64
import struct
import sys
from types import ModuleType
from typing import Any

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._access.workbench import Workbench
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk, read_image
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DirectDiskError
from ansible_collections.directdisk.qemu.plugins.module_utils._images.rbd import cluster
from ansible_collections.directdisk.qemu.tests.unit.support import capabilities

FSID = "439006c4-d007-4399-8c3c-8814d8e6ff6b"
KEY = base64.b64encode(struct.pack("<HIIH", 1, 0, 0, 16) + b"k" * 16).decode()


class Error(Exception):
    """As Ceph's bindings raise them."""

    __module__ = "rados"

    def __init__(self, errno: int) -> None:
        super().__init__("RADOS error")
        self.errno = errno


class Handle:
    """A connection that remembers what it was told."""

    made: list[Handle] = []
    fails: int = 0

    def __init__(self, rados_id: str) -> None:
        self.user = rados_id
        self.settings = {"client_mount_timeout": "300", "rados_mon_op_timeout": "0", "rados_osd_op_timeout": "0"}
        self.text = ""
        self.open = False
        Handle.made.append(self)

    def conf_read_file(self, path: str) -> None:
        with open(path, encoding="utf-8") as stream:
            self.text = stream.read()
        pairs: Any = (line.split(" = ") for line in self.text.splitlines() if " = " in line)
        self.settings.update(dict(pairs))

    def conf_get(self, name: str) -> str:
        return self.settings[name]

    def conf_set(self, name: str, value: str) -> None:
        self.settings[name] = value

    def connect(self) -> None:
        if Handle.fails:
            raise Error(Handle.fails)
        self.open = True

    def get_fsid(self) -> str:
        return FSID

    def shutdown(self) -> None:
        self.open = False


@pytest.fixture(autouse=True)
def ceph(monkeypatch: pytest.MonkeyPatch) -> None:
    module: Any = ModuleType("rados")
    module.Rados, module.Error = Handle, Error
    monkeypatch.setitem(sys.modules, "rados", module)
    monkeypatch.setattr(Handle, "made", [])
    monkeypatch.setattr(Handle, "fails", 0)


def disk(**options: Any) -> Disk:
    rbd = {"pool": "vms", "image": "web1", "user": "qemu", "key": KEY, "monitors": ["192.0.2.1", "[2001:db8::1]:3300"]}
    return read_image("disk", {"rbd": {**rbd, **options}}, "disk")


def refusal(one: Disk) -> str:
    with pytest.raises(DirectDiskError) as caught, Workbench(capabilities()) as bench:
        cluster.cluster_of(one, bench)
    return str(caught.value)


def test_a_connection_is_what_qemu_s_would_be() -> None:
    with Workbench(capabilities(), open_timeout=30) as bench:
        cluster.cluster_of(disk(auth_client_required=["cephx"], config={"rbd_cache_size": 5}), bench)
        (handle,) = Handle.made
        assert handle.user == "qemu"
        assert handle.text == "[global]\nclient_mount_timeout = 20\nrbd_cache_size = 5\n"
        assert handle.settings["mon_host"] == "192.0.2.1,[2001:db8::1]:3300"
        assert handle.settings["auth_client_required"] == "cephx"
        assert handle.settings["key"] == KEY
        assert handle.open
    assert not handle.open


@pytest.mark.parametrize(
    ("declared", "allowed", "bound"), [(None, 30, "20"), (None, 5, "5"), (2, 30, "2"), (60, 9, "9")]
)
def test_no_answer_is_waited_for_longer_than_allowed(declared: int | None, allowed: int, bound: str) -> None:
    with Workbench(capabilities(), open_timeout=allowed) as bench:
        cluster.cluster_of(disk(**({"mount_timeout": declared} if declared else {})), bench)
    settings = Handle.made[0].settings
    assert settings["client_mount_timeout"] == bound
    assert settings["rados_mon_op_timeout"] == settings["rados_osd_op_timeout"] == str(allowed)


def test_a_copy_waits_for_osds_no_longer_than_allowed() -> None:
    assert cluster.bounded(disk(), 9).source["config"] == {"rados_osd_op_timeout": 9}
    assert cluster.bounded(disk(config={"rados_osd_op_timeout": 3}), 9).source["config"] == {"rados_osd_op_timeout": 3}
    other = read_image("disk", {"file": {"filename": "/srv/a"}}, "disk")
    assert cluster.bounded(other, 9) is other


def test_disks_of_one_cluster_and_user_share_a_connection() -> None:
    with Workbench(capabilities()) as bench:
        first = cluster.cluster_of(disk(), bench)
        assert (
            cluster.cluster_of(disk(pool="other", image="b", namespace="n", networks=["192.0.2.0/24"]), bench) is first
        )
        assert cluster.cluster_of(disk(user="other"), bench) is not first
    assert len(Handle.made) == 2


def test_a_key_that_ceph_would_print_is_not_given_to_it() -> None:
    said = refusal(disk(key="c2VjcmV0"))
    assert said == "key: is not a Ceph key; get it with ceph auth get-key"


def test_another_cluster_is_refused() -> None:
    said = refusal(disk(fsid=FSID.replace("4", "5")))
    assert said == f"rbd vms/web1: the cluster behind these monitors is {FSID}; correct fsid or monitors"


@pytest.mark.parametrize(
    ("number", "meaning"),
    [
        (110, "no monitor answers; check monitors, "),
        (13, "the cluster does not know this user with this key; compare user and key with ceph auth get "),
        (22, "Ceph cannot read the key or the monitors' addresses; check key "),
    ],
)
def test_an_error_of_the_connection_says_what_to_do(monkeypatch: pytest.MonkeyPatch, number: int, meaning: str) -> None:
    monkeypatch.setattr(Handle, "fails", number)
    assert refusal(disk()).startswith(f"rbd vms/web1: {meaning}")


def test_a_configuration_that_is_not_there_is_named() -> None:
    rbd = {"pool": "vms", "image": "web1", "conf": "/nonexistent/ceph.conf"}
    said = refusal(read_image("disk", {"rbd": rbd}, "disk"))
    assert "error reading conf file /nonexistent/ceph.conf: No such file or directory" in said


def test_what_is_no_error_of_the_storage_stays_what_it_is() -> None:
    with pytest.raises(ZeroDivisionError), cluster.speaking_of(disk(), "dividing"):
        raise ZeroDivisionError
