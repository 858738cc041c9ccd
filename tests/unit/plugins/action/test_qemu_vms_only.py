# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run that acts on some VMs of its hosts, and leaves the others as they are."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.plugins.action import ActionBase

from ansible_collections.directdisk.qemu.plugins.action.qemu_vms import display
from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run import steps
from ansible_collections.directdisk.qemu.tests.unit.ansible_run import as_template
from ansible_collections.directdisk.qemu.tests.unit.plugins.action.test_qemu_vms_action import Host, run
from ansible_collections.directdisk.qemu.tests.unit.plugins.action.test_qemu_vms_steps import Fleet
from ansible_collections.directdisk.qemu.tests.unit.support import disk_of, empty_host


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(display, "warning", lambda _text: None)
    monkeypatch.setattr(ActionBase, "run", lambda self, tmp=None, task_vars=None: {})


def vm(number: int, **settings: Any) -> dict[str, Any]:
    return {**disk_of({"nbd": {"host": f"192.0.2.{number}"}}), **settings}


VMS: dict[str, Any] = {"web1": vm(1), "db1": vm(2), "db2": vm(3)}


def running() -> Host:
    host = Host(empty_host())
    run(host, VMS)
    host.calls.clear()
    return host


def test_the_other_vms_are_not_touched_whatever_has_changed_in_their_declarations() -> None:
    changed = {
        "web1": vm(1, restart="when_needed", cpus=2),
        "db1": vm(2, restart="when_needed", cpus=2),
        "db2": {"state": "absent"},
    }
    host = running()
    result = run(host, changed, only_vms="web1", check=True)
    assert result["actions"] == [
        "write /etc/systemd/system/qemu-vm-web1.service",
        "restart vm web1",
        "reload systemd",
    ]
    assert result["left_out"] == ["db1", "db2"]
    run(host, changed, only_vms="web1")
    assert list(host.calls[-1]["vms"]["desired"]["vms"]) == ["web1"]
    assert not any("db" in path for path in host.calls[-1]["vms"]["desired"]["files"])


@pytest.mark.parametrize("names", ["web1,db*", ["web1", "db*"], "db? web1"])
def test_patterns_are_a_list_or_text(names: Any) -> None:
    host = Host(empty_host())
    result = run(host, {**VMS, "mail": vm(9)}, only_vms=names, check=True)
    assert [line for line in result["actions"] if line.startswith("start")] == [
        "start vm web1",
        "start vm db1",
        "start vm db2",
    ]
    assert result["left_out"] == ["mail"]


def test_images_and_helpers_of_the_others_are_kept() -> None:
    staged = {"https": {"url": "https://192.0.2.7/a.qcow2"}, "format": "qcow2", "writes": "discard", "route": "stage"}
    vms = {"web1": vm(1), "tools": disk_of(staged)}
    host = Host(empty_host())
    run(host, vms)
    files = host.seen["observed"]["files"]
    image = next(path for path in files if "/system/qemu-image-" in path)
    files["/etc/systemd/system/qemu-vm-tools.service"]["images"] = [image.rpartition("-")[2].partition(".")[0]]
    result = run(host, {**vms, "web1": vm(1, cpus=2)}, only_vms="web1", check=True)
    assert not [line for line in result["actions"] if line.startswith(("remove", "stop"))]


def test_a_vm_that_is_left_out_still_counts_where_two_write_to_one_disk() -> None:
    assert "is the same storage as" in run(Host(empty_host()), {"a": vm(1), "b": vm(1)}, only_vms="b")["msg"]
    # Its process has the disk open that its declaration has just passed on.
    host = running()
    moved = {"web1": vm(2), "db1": vm(8), "db2": vm(3)}
    run(host, {**VMS, "web1": vm(1, state="stopped")}, only_vms="web1", check=True)
    host.seen["observed"]["units"]["qemu-vm-web1.service"]["active"] = "inactive"
    assert "db1 still has the same storage open" in run(host, moved, only_vms="web1", check=True)["msg"]
    assert "failed" not in run(host, {**moved, "db1": vm(8, state="stopped")}, check=True)


def test_a_pattern_that_matches_nothing_is_an_error_before_anything_changes() -> None:
    host = Host(empty_host())
    result = run(host, VMS, only_vms="web1,mail*")
    assert result["msg"].startswith("hv1: qemu_vms_only: mail*: no VM of hv1 has such a name")
    assert [list(call["vms"]) for call in host.calls] == [["observe"]]
    assert "is empty" in run(host, VMS, only_vms="")["msg"]


@pytest.mark.parametrize("value", ["web{{ number }}", ["web1", "{{ number }}"]])
def test_names_whose_template_fails_do_not_become_all_vms(value: Any) -> None:
    names = as_template(value) if isinstance(value, str) else [*map(as_template, value)]
    host = Host(empty_host())
    result = run(host, VMS, variables={"qemu_vms_only": names})
    assert result["msg"] == "hv1: qemu_vms: only_vms (qemu_vms_only): 'number' is undefined"
    assert host.calls == []
    assert "failed" not in run(host, VMS, only_vms="web1", variables={"qemu_vms_only": names})


def test_a_pattern_needs_a_vm_on_one_host_only() -> None:
    fleet = Fleet(hv1={"web1": vm(1)}, hv2={"db1": vm(2)})
    assert not fleet.look(only_vms="db*").get("failed")
    assert [fleet.hostvars[host][steps.OBSERVED]["due"] for host in ("hv1", "hv2")] == [False, True]
    assert fleet.changes("hv2", only_vms="db*")["changed"] is True
    compared = fleet.look(only_vms="db*,mail")
    assert compared["msg"].startswith("qemu_vms_only: mail: no VM of hv1, hv2 has such a name")


def test_a_vm_with_more_memory_than_its_host_is_refused_where_it_would_start() -> None:
    host = Host(empty_host())
    host.seen["observed"]["size"] = {"memory": 4 << 30, "swap": 0, "cpus": 4}
    vms = {"web1": vm(1, memory="5GiB"), "db1": vm(2, memory="1GiB")}
    assert run(host, vms)["msg"].startswith("hv1: vm web1: memory: 5.0 GiB is more than the host has (4.0 GiB)")
    assert [list(call["vms"]) for call in host.calls] == [["observe"]]
    assert "failed" not in run(host, {**vms, "web1": vm(1, memory="5GiB", state="stopped")}, check=True)
    assert "failed" not in run(host, vms, only_vms="db1", check=True)
    assert "failed" not in run(running(), {**VMS, "db1": vm(2, memory="1TiB")}, check=True)


def test_memory_of_all_vms_is_compared_with_the_hosts_when_one_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(display, "warning", said.append)
    host = running()
    host.seen["observed"]["size"] = {"memory": 2 << 30, "swap": 0, "cpus": 4}
    run(host, VMS, check=True)
    assert not said
    host.seen["observed"]["units"]["qemu-vm-web1.service"]["active"] = "inactive"
    run(host, VMS, only_vms="web1", check=True)
    assert said[0].startswith("hv1: its VMs are declared with 3.0 GiB of memory together (web1 1.0 GiB, db1 1.0 GiB")
