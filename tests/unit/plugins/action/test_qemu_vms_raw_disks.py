# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The first bytes of disks that are only opened, in a run of the action plugin."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.directdisk.qemu.tests.unit.plugins.action.test_qemu_vms_action import (
    QCOW2,
    SIMPLE,
    Host,
    run,
)
from ansible_collections.directdisk.qemu.tests.unit.support import empty_host

pytestmark = pytest.mark.usefixtures("warnings")

RAW_FILE = {"file": {"path": "/srv/a.img"}}


def file_host(**changes: Any) -> Host:
    return Host(empty_host(paths={"/srv/a.img": "file"}, heads={"/srv/a.img": QCOW2}, **changes))


def test_a_vm_does_not_start_on_a_qcow2_that_is_declared_raw() -> None:
    host = file_host()
    answer = run(host, {"web1": {"disks": {"root": RAW_FILE}}, "web2": {}})
    assert "hv1: disk root of web1: file /srv/a.img: it is a qcow2 image, and raw is declared" in answer["msg"]
    assert host.calls[0]["vms"]["observe"]["heads"] == ["/srv/a.img"]
    assert all(list(call["vms"]["desired"]["vms"]) == ["web2"] for call in host.calls[1:])


@pytest.mark.parametrize("declared", [{"raw_content": True}, {"format": "qcow2"}])
def test_a_qcow2_may_be_meant(declared: dict[str, Any]) -> None:
    assert "msg" not in run(file_host(), {"web1": {"disks": {"root": {**RAW_FILE, **declared}}}}, check=True)


def test_what_a_guest_has_written_does_not_stop_the_run_of_its_host() -> None:
    host = Host(empty_host(paths={"/srv/a.img": "file"}))
    vms = {"web1": {"disks": {"root": RAW_FILE}}}
    assert run(host, vms)["changed"]
    host.seen["observed"]["heads"] = {"/srv/a.img": QCOW2}
    assert not run(host, vms).get("failed")


def test_a_packed_file_is_looked_at_as_a_guest_sees_it() -> None:
    """Its own first bytes are those of the packed format."""
    host = file_host()
    packed = {"file": {"path": "/srv/a.img", "compression": "xz"}, "writes": "deny"}
    assert not run(host, {"web1": {"disks": {"root": packed}}}, check=True).get("msg")
    assert host.calls[0]["vms"]["observe"]["heads"] == []
    assert [disk["name"] for disk in host.to_read] == ["root of web1"]


RAW_NBD = {"nbd": {"host": "192.0.2.5"}}
NETWORK_RAW = {
    "name": "root of web1",
    "node": "root.storage",
    "before_start": True,
    "unit": "qemu-vm-web1.service",
    "identity": "nbd:192.0.2.5:10809/",
    "declared": RAW_NBD,
}


def test_a_vm_does_not_start_on_a_qcow2_behind_a_server_that_is_declared_raw() -> None:
    host = Host(empty_host(heads={"root of web1": QCOW2}))
    answer = run(host, {**SIMPLE, "web2": {}})
    assert host.to_read == [NETWORK_RAW]
    assert "hv1: disk root of web1: nbd 192.0.2.5:10809/: it is a qcow2 image, and raw is declared" in answer["msg"]
    assert [list(call["vms"]["desired"]["vms"]) for call in host.calls[1:]] == [["web2"]]


def test_storage_that_cannot_be_read_before_the_start_is_no_failure_but_a_warning(warnings: list[str]) -> None:
    host = Host(empty_host(not_read={"root of web1": "nbd 192.0.2.5:10809/: Connection refused"}))
    assert run(host, SIMPLE)["changed"] is True
    assert warnings == [
        "hv1: disk root of web1: it is declared raw, and its first bytes could not be read to check that "
        "(nbd 192.0.2.5:10809/: Connection refused)"
    ]
    warnings.clear()
    assert run(host, SIMPLE)["changed"] is False
    assert warnings == []


@pytest.mark.parametrize(
    ("declared", "read"),
    [
        (RAW_NBD, [True]),
        ({**RAW_NBD, "raw_content": True}, [False]),
        ({**RAW_NBD, "format": "qcow2"}, [False]),
        ({**RAW_NBD, "luks": {"passphrase": "geheim"}}, [False]),
        ({**RAW_NBD, "provision": {"virtual_size": "1GiB"}}, []),
        (RAW_FILE, []),
    ],
)
def test_disks_that_are_only_opened_are_read_over_the_network(declared: dict[str, Any], read: list[bool]) -> None:
    """Before a start those that may be an image of another format."""
    host = file_host()
    run(host, {"web1": {"disks": {"root": declared}}}, check=True)
    assert [disk["before_start"] for disk in host.to_read] == read


@pytest.mark.parametrize("state", ["stopped", "absent"])
def test_the_disks_of_a_vm_that_is_not_to_run_are_not_read(state: str) -> None:
    host = Host(empty_host())
    run(host, {"web1": {**SIMPLE["web1"], "state": state}}, check=True)
    assert host.to_read == []


@pytest.mark.parametrize(("backend", "refused"), [("https", True), ("nbd", False)])
def test_an_archive_is_refused_only_where_no_guest_can_have_written_it(backend: str, refused: bool) -> None:
    disks = {"https": {"https": {"url": "https://192.0.2.7/x"}, "writes": "discard"}, "nbd": RAW_NBD}
    host = Host(empty_host(heads={"root of web1": b"\xfd7zXZ\0".hex()}))
    answer = run(host, {"web1": {"disks": {"root": disks[backend]}}}, check=True)
    assert ("it is an xz file, and raw is declared" in answer.get("msg", "")) == refused
