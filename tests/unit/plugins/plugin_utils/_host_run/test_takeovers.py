# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A VM takes its storage from clients of dead hosts: from whom nothing is taken, and what a run then does."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.plugins.action import ActionBase

from ansible_collections.directdisk.qemu.plugins.action.qemu_vms import display
from ansible_collections.directdisk.qemu.plugins.module_utils._host import apply, in_use
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.changes import Changes
from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run.other_hosts import (
    HostReport,
    decide_starts,
    host_report,
)
from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run.takeovers import takeovers_of
from ansible_collections.directdisk.qemu.tests.unit.plugins.action.test_qemu_vms_action import Host, run
from ansible_collections.directdisk.qemu.tests.unit.plugins.action.test_qemu_vms_steps import Fleet
from ansible_collections.directdisk.qemu.tests.unit.plugins.plugin_utils._host_run.test_other_hosts import report
from ansible_collections.directdisk.qemu.tests.unit.support import NBD, disk_of, empty_host, vm

RBD: dict[str, Any] = {
    "rbd": {"pool": "vms", "image": "root", "user": "qemu", "key": "AQ==", "monitors": ["192.0.2.5"]}
}
WEB1 = disk_of(RBD)
(ROOT,) = (disk.identity for disk in vm(WEB1).disks)
DEAD: dict[str, Any] = {
    "name": "open by client.7 at 192.0.2.9",
    "here": False,
    "address": "192.0.2.9",
    "take": {"client": "client.7", "place": "192.0.2.9:0/17"},
    "action": "blocklist client.7 (192.0.2.9:0/17), and break its lock if it has one",
}
ACTION = f"take over disk root of web1: rbd vms/root: {DEAD['action']}"
HELD = {"in_use": {ROOT: "is open by client.7 at 192.0.2.9; stop it"}, "owners": {ROOT: [DEAD]}, "not_asked": {}}


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(display, "warning", lambda _text: None)
    monkeypatch.setattr(ActionBase, "run", lambda self, tmp=None, task_vars=None: {})


def taking(declared: dict[str, Any] | None = None, names: tuple[str, ...] = ("web1",), **observed: Any) -> HostReport:
    """The report of a host on which web1 starts and takes its storage."""
    vms = [vm(declared or WEB1, "web1")]
    seen: dict[str, Any] = {"files": {}, "units": {}, **HELD, "addresses": ["192.0.2.2"], **observed}
    return host_report("1", vms, seen, [], Changes(start=["web1"]), names)


def other(running: dict[str, Any] | None = None, *addresses: str, **declared: Any) -> HostReport:
    there = report(declared, running or {})
    return {**there, "takeover": {"names": [], "addresses": list(addresses), "owners": {}, "refused": {}}}


def errors(**reports: HostReport) -> list[str]:
    return [str(error) for error in decide_starts(reports).errors]


def test_storage_is_taken_only_for_the_vm_that_is_named() -> None:
    assert decide_starts({"hv2": taking()}).takes == {"hv2": {"web1": [ROOT]}}
    assert errors(hv2=taking()) == []
    assert errors(hv2=taking(names=("db",))) == [
        "hv2: disk root of web1: rbd vms/root is open by client.7 at 192.0.2.9; stop it"
    ]


def test_nothing_is_taken_from_a_vm_that_another_host_runs() -> None:
    assert errors(hv1=other({"web1": WEB1}), hv2=taking()) == [
        "hv2: disk root of web1 (rbd vms/root): web1 runs on hv1, which does not declare it; to move it here, declare "
        "it state: absent on hv1, or stop it there first",
        "hv2: vm web1: runs on hv1, which answers, so its storage is not taken over; stop it there",
    ]
    # The same image by another spelling: a host that declares the VM and runs it is enough.
    elsewhere = disk_of({"rbd": {**RBD["rbd"], "pool": "alias"}})
    assert errors(hv1=other({"web1": elsewhere}, web1=elsewhere), hv2=taking()) == [
        "hv2: vm web1: runs on hv1, which answers, so its storage is not taken over; stop it there"
    ]


def test_nothing_is_taken_from_a_client_at_an_address_of_a_host_that_answers() -> None:
    assert errors(hv1=other(None, "192.0.2.9"), hv2=taking()) == [
        "hv2: disk root of web1: rbd vms/root is open by client.7 at 192.0.2.9, which is hv1; that host answers, so "
        "end the client there"
    ]
    here = {**DEAD, "here": True}
    (error,) = errors(hv2=taking(owners={ROOT: [here]}))
    assert error.endswith("which is hv2; that host answers, so end the client there")


def test_nothing_is_taken_from_a_vm_that_stops_first() -> None:
    stops = {"web1": {**WEB1, "state": "absent"}}
    decision = decide_starts({"hv1": other({"web1": WEB1}, **stops), "hv2": taking()})
    assert (decision.errors, decision.takes) == ([], {})
    assert decision.stops == {"hv1": ["web1"]}


@pytest.mark.parametrize(
    ("disk", "reason"),
    [
        (NBD, "nbd neither knows its clients nor shuts one out"),
        ({"nfs": {"host": "192.0.2.5", "path": "/a"}}, "nfs neither knows its clients nor shuts one out"),
    ],
)
def test_a_vm_with_storage_that_shuts_nobody_out_takes_none(disk: dict[str, Any], reason: str) -> None:
    declared = {"disks": {"root": RBD, "data": disk}}
    (error,) = errors(hv2=taking(declared))
    assert error.startswith("hv2: disk data of web1: ")
    assert error.endswith(f"cannot be taken over: {reason}")
    # A disk that only this host has, or that is not written to, is no obstacle.
    for harmless in ({"file": {"path": "/srv/a"}}, {**disk, "writes": "deny"}):
        assert errors(hv2=taking({"disks": {"root": RBD, "data": harmless}})) == []


def test_a_guest_that_makes_reservations_keeps_them() -> None:
    lun = {"iscsi": {"portal": "192.0.2.5", "target": "iqn.2026-01.lab:a", "lun": 1}}
    assert errors(hv2=taking(disk_of(lun))) == []
    (error,) = errors(hv2=taking({"disks": {"root": {**lun, "model": "scsi-block"}}}))
    assert error.endswith("cannot be taken over: its guest makes and takes reservations itself (model scsi-block)")


def test_storage_that_does_not_say_who_has_it_open_is_not_taken() -> None:
    (error,) = errors(hv2=taking(not_asked={ROOT: "no answer within 4 s"}, owners={}))
    assert error.endswith("cannot be taken over: it is not known who has it open: no answer within 4 s")


def test_an_owner_that_cannot_be_shut_out_is_named() -> None:
    (error,) = errors(hv2=taking(owners={ROOT: [{**DEAD, "take": None}]}))
    assert error.endswith("is open by client.7 at 192.0.2.9; it cannot be taken from that")


def host() -> Host:
    return Host(empty_host(**HELD, addresses=["192.0.2.2"], names={}))


def test_a_run_shows_whom_it_takes_storage_from_and_then_takes_it() -> None:
    assert "is open by client.7" in run(host(), {"web1": WEB1}, check=True)["msg"]
    one = host()
    result = run(one, {"web1": WEB1}, takeover="web1", check=True)
    assert ACTION in result["actions"]
    assert result["actions"].index(ACTION) < result["actions"].index("start vm web1")
    assert len(one.calls) == 1
    run(one, {"web1": WEB1}, takeover="web1")
    desired = one.calls[-1]["vms"]["desired"]
    (takeover,) = desired["takeovers"]["web1"]
    assert takeover["take"] == [DEAD["take"]]
    assert "takeovers" not in run(host(), {"web1": WEB1})


def test_the_steps_of_a_run_over_many_hosts_take_it_too() -> None:
    fleet = Fleet(hv2={"web1": WEB1})
    fleet.hosts["hv2"] = host()
    assert fleet.look(takeover="web1")["takes"] == {"hv2": {"web1": [ROOT]}}
    assert ACTION in fleet.changes("hv2", takeover="web1", check=True)["actions"]
    fleet.changes("hv2", takeover="web1")
    (takeover,) = fleet.hosts["hv2"].calls[-1]["vms"]["desired"]["takeovers"]["web1"]
    assert takeover["take"] == [DEAD["take"]]


@pytest.mark.parametrize("names", ["web*", "*", "true"])
def test_a_vm_is_named_in_full(names: str) -> None:
    message = run(host(), {"web1": WEB1}, takeover=names, check=True)["msg"]
    assert "name each VM in full" in message or "no VM of hv1 has such a name" in message


def test_a_vm_whose_storage_is_not_free_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def answers(_user: int, _folder: str, verb: str, _seconds: int, checks: Any) -> list[dict[str, Any]]:
        asked.append((verb, [check["take"] for check in checks]))
        return [{"in_use": "is open by client.8; stop it", "not_asked": "", "owners": []}]

    monkeypatch.setattr(in_use, "_run", answers)
    observed: Any = HELD
    secrets = {"/etc/credstore.encrypted/qemu-vm-web1.root.key": "AQ=="}
    takeovers = takeovers_of([vm(WEB1, "web1")], observed, {"web1": [ROOT]})
    changes = Changes(start=["web1"], take_over={"web1": takeovers["web1"][0]["actions"]})
    refused = apply._take_over({"files": {}, "vms": {}, "takeovers": takeovers}, changes, secrets)
    assert asked == [("take", [[DEAD["take"]]])]
    assert refused == {
        "web1": [
            "vm web1: is left as it is: disk root of web1: rbd vms/root was not taken over: it is open by client.8; "
            "stop it"
        ]
    }
    assert (changes.start, changes.take_over) == ([], {})
