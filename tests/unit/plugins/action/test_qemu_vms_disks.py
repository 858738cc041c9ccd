# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Disks that are created and kept in a run of the action plugin."""

from __future__ import annotations

import pytest

from ansible_collections.directdisk.qemu.tests.unit.plugins.action.test_qemu_vms_action import (
    CREATE,
    KEPT,
    SIMPLE,
    Host,
    run,
)
from ansible_collections.directdisk.qemu.tests.unit.support import disk_of, empty_host

pytestmark = pytest.mark.usefixtures("warnings")


def test_no_disk_is_looked_at_where_none_is_made_or_kept() -> None:
    host = Host(empty_host())
    run(host, SIMPLE)
    run(host, {"web1": {**KEPT["web1"], "state": "absent"}})
    run(host, KEPT, only="ssh_agents")
    assert host.kept == []


def test_an_image_that_will_be_created_need_not_be_there() -> None:
    host = Host(empty_host(), disks={"root of web1": CREATE})
    result = run(host, KEPT, check=True, diff=True)
    assert result["actions"][0] == "disk root of web1: create file /srv/a of 1 GiB"
    assert result["disks"] == [{"name": "root of web1", **CREATE}]
    assert result["diff"][0]["before_header"] == "disk root of web1"
    assert [predicted for predicted, _disks in host.kept] == [True]


def test_disks_are_made_before_their_vms_start(warnings: list[str]) -> None:
    host = Host(empty_host(), disks={"root of web1": CREATE})
    result = run(host, KEPT)
    declared = {"root of web1": {"file": {"path": "/srv/a"}, "size": "1GiB"}}
    assert host.kept == [(True, declared), (False, declared)]
    assert result["actions"] == ["disk root of web1: create file /srv/a of 1 GiB", "done"]
    assert result["changed"] is True
    assert set(warnings) == {"hv1: beware"}


def test_disks_that_are_as_declared_are_looked_at_once() -> None:
    host = Host(empty_host())
    run(host, KEPT)
    host.calls.clear()
    host.kept.clear()
    assert run(host, KEPT)["changed"] is False
    assert [predicted for predicted, _disks in host.kept] == [True]
    assert len(host.calls) == 1


def test_a_disk_of_a_running_vm_is_grown_by_the_vm() -> None:
    host = Host(empty_host())
    run(host, KEPT)
    host.disks["root of web1"] = {"changed": True, "actions": ["grow"]}
    host.calls.clear()
    result = run(host, KEPT)
    assert (
        host.kept[-1][1]["root of web1"].items()
        >= {
            "monitor": "/run/qemu-vm-web1/qmp.sock",
            "node": "root.format",
        }.items()
    )
    assert result["actions"] == ["disk root of web1: grow"]
    assert [list(call["vms"]) for call in host.calls] == [["observe"]]


@pytest.mark.parametrize("check", [True, False])
def test_a_vm_whose_disk_cannot_be_looked_at_is_left_alone(check: bool) -> None:
    failure = {"failed": True, "refused": False, "msg": "disk root of web1: file /srv/a: it is full"}
    host = Host(empty_host(), disks={"root of web1": failure})
    result = run(host, KEPT, check=check)
    assert (result["failed"], result["failures"]) == (True, ["web1"])
    assert result["msg"] == "hv1: disk root of web1: file /srv/a: it is full"
    assert len(host.kept) == 1
    if not check:
        assert list(host.calls[-1]["vms"]["desired"]["vms"]) == ["web2"]


def test_a_vm_whose_disk_fails_while_it_is_made_is_left_alone() -> None:
    both = {"web1": {"disks": {**KEPT["web1"]["disks"], "data": {"file": {"path": "/srv/b"}, "size": "1GiB"}}}}
    failure = {"failed": True, "changed": False, "actions": [], "msg": "disk root of web1: file /srv/a: it is full"}
    disks = {"root of web1": {**CREATE, "done": failure}, "data of web1": {**CREATE, "actions": ["create /srv/b"]}}
    host = Host(empty_host(), disks=disks)
    result = run(host, {**KEPT, **both})
    assert result["msg"] == "hv1: disk root of web1: file /srv/a: it is full"
    assert result["actions"] == ["disk data of web1: create /srv/b", "done"]
    assert result["changes"]["web1"] == ["create disk data"] and "start" in result["changes"]["web2"]
    assert list(host.calls[-1]["vms"]["desired"]["vms"]) == ["web2"]


def test_what_must_not_be_done_to_a_disk_is_refused_before_anything_changes() -> None:
    refused = {"failed": True, "refused": True, "msg": "disk root of web1: size: it is never shrunk"}
    host = Host(empty_host(), disks={"root of web1": refused})
    assert run(host, KEPT) == {"failed": True, "msg": "hv1: disk root of web1: size: it is never shrunk"}
    assert len(host.calls) == len(host.kept) == 1


def test_a_failure_of_qemu_disks_itself_is_the_result_and_names_the_host() -> None:
    failure = {"failed": True, "msg": "there is no qemu-storage-daemon"}
    assert run(Host(empty_host(), disks={**failure, "root of web1": CREATE}), KEPT) == {
        **failure,
        "msg": "hv1: there is no qemu-storage-daemon",
    }


def test_how_a_disk_is_made_is_checked_before_the_host_is_asked() -> None:
    host = Host(empty_host())
    result = run(host, {"web1": disk_of({"file": {"path": "/srv/a"}}, size="1GiB", provision={"sise": 1})})
    assert result["msg"].startswith("hv1: disk root of web1: provision: unknown option 'sise'")
    assert host.calls == []
