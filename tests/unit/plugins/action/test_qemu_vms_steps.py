# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run in steps, over several hosts, as role qemu_vms puts them together."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible.plugins.action import ActionBase

from ansible_collections.directdisk.qemu.plugins.action.qemu_vms import display
from ansible_collections.directdisk.qemu.plugins.module_utils._units import paths
from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run import steps
from ansible_collections.directdisk.qemu.tests.unit.plugins.action.test_qemu_vms_action import (
    CREATE,
    KEPT,
    PASSWORDS,
    SECRET,
    SIMPLE,
    Host,
    run,
)
from ansible_collections.directdisk.qemu.tests.unit.support import disk_of, empty_host


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(display, "warning", lambda _text: None)
    monkeypatch.setattr(ActionBase, "run", lambda self, tmp=None, task_vars=None: {})


class Fleet:
    """Hosts, each with what it declares and with the results that the role registers."""

    def __init__(self, **declared: Any) -> None:
        self.hosts = {name: Host(empty_host()) for name in declared}
        self.hostvars: dict[str, dict[str, Any]] = {name: {} for name in declared}
        for name, vms in declared.items():
            self.declare(name, vms)

    def declare(self, host: str, vms: Any) -> None:
        self.hostvars[host]["qemu_vms"] = vms

    def step(self, step: str, host: str, register: str, **options: Any) -> dict[str, Any]:
        shared = {"hostvars": self.hostvars, "ansible_play_hosts": list(self.hosts), "inventory_hostname": host}
        vms = self.hostvars[host]["qemu_vms"] if step in ("observe", "apply") else {}
        result = run(self.hosts[host], vms, step=step, variables={**self.hostvars[host], **shared}, **options)
        self.hostvars[host][register] = result
        return result

    def look(self, **options: Any) -> dict[str, Any]:
        """Observe on all hosts, and compare."""
        for host in self.hosts:
            self.step("observe", host, steps.OBSERVED, **options)
        compared = self.step("compare", next(iter(self.hosts)), steps.COMPARED, **options)
        for host in self.hosts:
            self.hostvars[host][steps.COMPARED] = compared
        return compared

    def changes(self, host: str, **options: Any) -> dict[str, Any]:
        if host in self.hostvars[host][steps.COMPARED]["stops"]:
            self.step("stop", host, steps.STOPPED_FIRST, **options)
        return self.step("apply", host, steps.APPLIED, **options)

    def requests(self) -> dict[str, list[list[str]]]:
        """The calls of each host since the last time."""
        calls = {name: [list(call["vms"]) for call in host.calls] for name, host in self.hosts.items()}
        for host in self.hosts.values():
            host.calls.clear()
        return calls


ABSENT: dict[str, Any] = {"web1": {**SIMPLE["web1"], "state": "absent"}}


def moving() -> Fleet:
    """A VM that runs on hv1, and is to run on hv2."""
    fleet = Fleet(hv1=SIMPLE, hv2={})
    fleet.look()
    fleet.changes("hv1")
    fleet.declare("hv1", ABSENT)
    fleet.declare("hv2", SIMPLE)
    fleet.requests()
    return fleet


def test_a_host_on_which_nothing_changes_is_asked_once() -> None:
    fleet = Fleet(hv1=SECRET, hv2={})
    assert fleet.look() == {"changed": False, "stops": {}, "waits": {}, "takes": {}}
    assert fleet.changes("hv1")["changed"] is True
    fleet.requests()
    fleet.look()
    assert [fleet.hostvars[host][steps.OBSERVED]["due"] for host in ("hv1", "hv2")] == [False, True]
    assert fleet.requests() == {"hv1": [["observe"]], "hv2": [["observe"]]}
    assert "observed" not in fleet.hostvars["hv1"][steps.OBSERVED]


def test_what_was_observed_is_not_asked_for_again() -> None:
    fleet = Fleet(hv1=SECRET)
    fleet.look(diff=True)
    shown = json.dumps(fleet.hostvars["hv1"][steps.OBSERVED]) + repr(
        steps.unpack(fleet.hostvars["hv1"][steps.OBSERVED]["observed"])
    )
    assert not [word for word in PASSWORDS if word in shown]
    predicted = fleet.step("apply", "hv1", steps.APPLIED, check=True, diff=True)
    assert fleet.requests() == {"hv1": [["observe"]]}
    whole = run(Host(empty_host()), SECRET, check=True, diff=True)
    assert (predicted["actions"], predicted["diff"]) == (whole["actions"], whole["diff"])


def test_a_vm_that_another_host_runs_is_refused_before_a_host_is_changed() -> None:
    fleet = moving()
    fleet.declare("hv1", {})
    compared = fleet.look()
    assert compared["failed"] is True
    assert compared["msg"].startswith("hv2: disk root of web1 (nbd 192.0.2.5:10809/): web1 runs on hv1, which does not")
    assert fleet.requests() == {"hv1": [["observe"]], "hv2": [["observe"]]}


def test_a_vm_that_moves_is_stopped_before_it_is_started() -> None:
    fleet = moving()
    assert fleet.look()["stops"] == {"hv1": ["web1"]}
    stopped = fleet.step("stop", "hv1", steps.STOPPED_FIRST)
    assert (stopped["changed"], stopped["actions"], stopped["stopped"]) == (True, ["stop vm web1"], ["web1"])
    assert fleet.changes("hv2")["actions"] == ["done"]
    assert fleet.requests() == {"hv1": [["observe"], ["stop"]], "hv2": [["observe"], ["desired", "encrypted", "wait"]]}


def test_a_move_is_predicted() -> None:
    fleet = moving()
    fleet.look(check=True)
    stopped = fleet.step("stop", "hv1", steps.STOPPED_FIRST, check=True, diff=True)
    assert (stopped["actions"], stopped["diff"]) == (["stop vm web1"], [{"prepared": "stop vm web1\n"}])
    removed = fleet.step("apply", "hv1", steps.APPLIED, check=True)["actions"]
    assert "stop vm web1" not in removed
    assert f"remove {paths.UNIT_DIRECTORY}/qemu-vm-web1.service" in removed
    assert "start vm web1" in fleet.changes("hv2", check=True)["actions"]
    assert fleet.requests() == {"hv1": [["observe"]], "hv2": [["observe"]]}


@pytest.mark.parametrize("cause", ["it failed", "it was not run", "it is of an earlier run"])
def test_a_vm_is_not_started_where_its_stop_did_not_happen(cause: str) -> None:
    fleet = moving()
    fleet.declare("hv2", {**SIMPLE, "web2": disk_of({"nbd": {"host": "192.0.2.6"}}), "web3": KEPT["web1"]})
    fleet.look()
    if cause == "it failed":
        fleet.hosts["hv1"].failures = {"web1": []}
        result = fleet.step("stop", "hv1", steps.STOPPED_FIRST)
        assert result["msg"] == "hv1: vm web1: does not stop, so it is not started on another host"
    elif cause == "it is of an earlier run":
        fleet.step("stop", "hv1", steps.STOPPED_FIRST)
        fleet.step("observe", "hv1", steps.OBSERVED)
    result = fleet.changes("hv2")
    assert (result["failed"], result["failures"]) == (True, ["web1"])
    assert result["msg"] == "hv2: vm web1: is not started: hv1 has not stopped web1; see the result of hv1"
    assert list(fleet.hosts["hv2"].calls[-1]["vms"]["desired"]["vms"]) == ["web2", "web3"]


def test_no_disk_is_made_for_a_vm_that_is_not_started() -> None:
    fleet = moving()
    fleet.declare("hv2", {"web1": {"disks": {**SIMPLE["web1"]["disks"], "more": KEPT["web1"]["disks"]["root"]}}})
    fleet.hosts["hv2"].disks = {"more of web1": CREATE}
    fleet.look()
    assert fleet.changes("hv2")["failures"] == ["web1"]
    assert [predicted for predicted, _disks in fleet.hosts["hv2"].kept] == [True]


def test_what_a_host_lacks_does_not_keep_it_from_being_compared() -> None:
    fleet = moving()
    fleet.declare("hv1", {})
    seen = fleet.hosts["hv2"].seen
    seen["capabilities"] = {**seen["capabilities"], "nbdkit": {}}
    http = disk_of({"http": {"url": "http://192.0.2.7/x"}}, writes="deny")
    fleet.declare("hv2", {**SIMPLE, "web2": http})
    compared = fleet.look(when_lacking="report")
    assert fleet.hostvars["hv2"][steps.OBSERVED]["missing_packages"] == ["nbdkit", "curl", "ca-certificates"]
    assert compared["failed"] is True
