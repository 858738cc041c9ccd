# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the report says of a fleet, and the page around it."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.read_vm import read_vms
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.plan import declared_credentials
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.vm_states import HALTED
from ansible_collections.directdisk.qemu.plugins.plugin_utils._inventory.declared import read_fleet
from ansible_collections.directdisk.qemu.plugins.plugin_utils._inventory.page import data_of, page, written_in
from ansible_collections.directdisk.qemu.plugins.plugin_utils._inventory.reports import DRIFT, report
from ansible_collections.directdisk.qemu.tests.unit.support import HOST_NAME, NBD, disk_of, golden_cases

FILE: dict[str, Any] = {"file": {"path": "/srv/a.img"}, "size": "1GiB"}
OPENED = {"path:/srv/a.img": True}
SEEN = {"node": "root.format", "size": 1 << 30, "read_only": False, "io_status": "ok", "io": {"reads": 1, "errors": 0}}
SEEN_WITHOUT_SIZE = {name: value for name, value in SEEN.items() if name != "size"}


def running(**changes: Any) -> dict[str, Any]:
    """A machine as qemu_info sees it, with the disk of FILE."""
    found = {"active": "active", "enabled": True, "status": "running", "opened": OPENED, "restart_needed": False}
    return {**found, "disks": {"root": SEEN}, "console": "login: hunter2", **changes}


def report_of(vms: Any, look: dict[str, Any]) -> dict[str, Any]:
    return report(read_fleet({HOST_NAME: {"qemu_vms": vms}}), {HOST_NAME: look})


def drift_of(declared: dict[str, Any] | None, found: dict[str, Any] | None) -> tuple[list[str], list[list[str]]]:
    """The drift of one machine, and of each of its disks."""
    made = report_of({"a": declared} if declared else {}, {"vms": {"a": found} if found else {}})
    return [kind for vm in made["vms"] for kind in vm["drift"]], [disk["drift"] for disk in made["disks"]]


def test_what_is_as_declared_has_no_drift() -> None:
    made = report_of({"a": disk_of(FILE)}, {"vms": {"a": running()}})
    host = {"host": HOST_NAME, "status": "answers", "problem": "", "errors": []}
    assert made["hosts"] == [{**host, "memory": None, "cpus": None}]
    assert made["vms"] == [
        {
            "host": HOST_NAME,
            "vm": "a",
            "declared": "started",
            "status": "running",
            "memory": 1 << 30,
            "cpus": 1,
            "enabled": True,
            "problem": "",
            "opens": [],
            "drift": [],
        }
    ]
    assert made["disks"] == [
        {
            "host": HOST_NAME,
            "vm": "a",
            "disk": "root",
            "backend": "file",
            "storage": "/srv/a.img",
            "pool": "/srv",
            "route": "auto",
            "format": "raw",
            "size": 1 << 30,
            "writes": "keep",
            "source": None,
            "system": f"file on {HOST_NAME}",
            "actual": 1 << 30,
            "io_status": "ok",
            "io": {"reads": 1, "errors": 0},
            "drift": [],
        }
    ]


@pytest.mark.parametrize(
    ("declared", "found", "drift"),
    [
        (disk_of(FILE), None, (["not running"], [[]])),
        (disk_of(FILE), running(active="failed", status="", disks={}), (["not running"], [[]])),
        ({**disk_of(FILE), "state": "stopped"}, None, ([], [[]])),
        ({**disk_of(FILE), "state": "stopped"}, running(), (["running"], [[]])),
        ({**disk_of(FILE), "state": "absent"}, None, ([], [])),
        ({**disk_of(FILE), "state": "absent"}, running(), (["running"], [["undeclared"]])),
        ({"state": "absent"}, running(active="inactive", status="", disks={}), (["not removed"], [])),
        (None, running(), (["undeclared"], [["undeclared"]])),
        (disk_of(FILE), running(restart_needed=True), (["restart needed"], [[]])),
        (disk_of(FILE), running(status="paused"), (["paused"], [[]])),
        (disk_of(FILE), running(status="io-error"), (["I/O error"], [[]])),
        (disk_of(FILE), running(status="guest-panicked"), (["guest panicked"], [[]])),
        ({**disk_of(FILE), "extra_args": ["-S"]}, running(status="paused"), ([], [[]])),
        (disk_of(FILE), running(enabled=False), (["not started at boot"], [[]])),
        ({**disk_of(FILE), "autostart": False}, running(), (["starts at boot"], [[]])),
        ({"state": "stopped"}, running(active="inactive", status="", disks={}), (["starts at boot"], [])),
        (disk_of(FILE), running(opened={}), ([], [[]])),
        (disk_of(FILE), running(opened={"path:/srv/b.img": True}), ([], [["other storage"]])),
        (disk_of(FILE), running(opened={"path:/srv/a.img": False}), ([], [["other storage"]])),
        (disk_of(FILE), running(disks={}), ([], [["not open"]])),
        (disk_of(FILE), running(error="QEMU does not answer", status="", disks={}), ([], [[]])),
        (disk_of({**FILE, "size": "2GiB"}), running(), ([], [["other size"]])),
        (disk_of({**FILE, "size": "2GiB"}), running(disks={"root": SEEN_WITHOUT_SIZE}), ([], [[]])),
        (disk_of(FILE), running(disks={"root": SEEN, "more": SEEN}), ([], [[], ["undeclared"]])),
    ],
)
def test_drift_is_named(
    declared: dict[str, Any] | None, found: dict[str, Any] | None, drift: tuple[list[str], list[list[str]]]
) -> None:
    assert drift_of(declared, found) == drift
    assert {*drift[0], *(kind for kinds in drift[1] for kind in kinds)} <= DRIFT.keys()


def test_a_disk_that_another_host_declares_is_in_use_where_the_vm_runs() -> None:
    fleet = read_fleet({"old": {"qemu_vms": {}}, "new": {"qemu_vms": {"a": disk_of(FILE)}}})
    disks = report(fleet, {"old": {"vms": {"a": running()}}, "new": {"vms": {}}})["disks"]
    assert [(disk["host"], disk["system"], disk["drift"], bool(disk["io"])) for disk in disks] == [
        ("old", "file on old", ["undeclared"], True),
        ("new", "file on new", [], False),
    ]
    other = {"vms": {"a": running(opened={"path:/srv/b.img": True})}}
    assert "system" not in report(fleet, {"old": other, "new": {"vms": {}}})["disks"][0]


def test_what_runs_by_hand_is_shown_beside_a_vm_of_its_name() -> None:
    image = {"pool": "vms", "image": "a", "user": "qemu", "key": "{{ vault_a_root_key }}", "monitors": ["192.0.2.1"]}
    unmanaged = [
        {"name": "a", "pid": 7, "unit": "", "declaration": {"disks": {"root": {"rbd": image}}}},
        {"name": "b", "pid": 0, "unit": "b.service", "declaration": {"disks": {"root": FILE}}},
        {"name": "c", "pid": 8, "unit": "", "declaration": {}},
    ]
    made = report_of({"a": disk_of(FILE)}, {"vms": {"a": running()}, "unmanaged": unmanaged})
    assert [(vm["vm"], vm["status"], vm["drift"]) for vm in made["vms"]] == [
        ("a", "running", []),
        ("a (pid 7)", "running", ["unmanaged"]),
        ("c (pid 8)", "running", ["unmanaged"]),
    ]
    assert [(disk["vm"], disk["disk"], disk["storage"], disk["system"], disk["drift"]) for disk in made["disks"]] == [
        ("a", "root", "/srv/a.img", f"file on {HOST_NAME}", []),
        ("a (pid 7)", "root", "vms/a", "rbd 192.0.2.1", []),
    ]


def test_what_a_host_says_of_a_vm_is_never_a_template() -> None:
    hostile = {"disks": {"root": {"file": {"path": "{{ lookup('pipe', 'touch /tmp/owned') }}"}}}}
    unmanaged = [{"name": "{{ 1 }}", "pid": 7, "unit": "", "declaration": hostile}]
    made = report_of({}, {"vms": {}, "unmanaged": unmanaged})
    assert [vm["vm"] for vm in made["vms"]] == ["{{ 1 }} (pid 7)"]
    assert made["disks"] == []


@pytest.mark.parametrize(
    ("look", "status", "problem"),
    [
        ({"unreachable": True, "msg": "No route to host\nand more"}, "unreachable", "No route to host"),
        ({"failed": True, "msg": "no QEMU here"}, "failed", "no QEMU here"),
        ({}, "failed", "It was not asked."),
    ],
)
def test_a_host_that_says_nothing_is_shown_with_what_is_declared(look: Any, status: str, problem: str) -> None:
    made = report_of({"a": disk_of(FILE), "b": {"state": "absent"}}, look)
    assert (made["hosts"][0]["status"], made["hosts"][0]["problem"]) == (status, problem)
    assert [(vm["vm"], vm["status"], vm["drift"]) for vm in made["vms"]] == [("a", "unknown", [])]
    assert [disk["drift"] for disk in made["disks"]] == [[]]


@pytest.mark.parametrize("vms", [{"a": {"cpus": 0}}, {"a": 1}, []])
def test_a_vm_whose_declaration_cannot_be_read_is_not_undeclared(vms: Any) -> None:
    made = report_of(vms, {"vms": {"a": running()}})
    assert len(made["hosts"][0]["errors"]) == 1
    assert [(vm["declared"], vm["opens"], vm["drift"]) for vm in made["vms"]] == [("unreadable", list(OPENED), [])]
    assert [disk["drift"] for disk in made["disks"]] == [[]]


def test_storage_is_its_servers_whatever_their_order_or_the_host_itself() -> None:
    cluster = {"pool": "p", "image": "i", "auth_client_required": ["none"]}
    disks = {
        "a": {"rbd": {**cluster, "monitors": ["192.0.2.2", "192.0.2.1"]}, "writes": "deny"},
        "b": {"rbd": {**cluster, "monitors": ["192.0.2.1", "192.0.2.2"]}, "writes": "deny"},
        "c": {"nbd": {"socket": "/run/x.sock"}},
        "d": NBD,
    }
    made = report_of({"a": {"disks": disks}}, {"vms": {}})
    assert [disk["system"] for disk in made["disks"]] == [
        "rbd 192.0.2.1, 192.0.2.2",
        "rbd 192.0.2.1, 192.0.2.2",
        f"nbd on {HOST_NAME}",
        "nbd 192.0.2.5",
    ]


# --- the page --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", golden_cases(), ids=lambda case: case.id)
def test_there_is_no_secret_in_a_page(case: Any) -> None:
    vms = read_vms(case.vms, HOST_NAME)
    text = page(report_of(case.vms, {"vms": {vm.name: running() for vm in vms}}), "now")
    secrets = [secret for one in vms if one.state != "absent" for secret in declared_credentials(one).values()]
    assert [secret for secret in secrets if secret in text or json.dumps(secret)[1:-1] in text] == []
    assert "hunter2" not in text


HOSTILE = "</script><img src=x onerror=alert(1)><!--<script>&"


def test_a_name_cannot_end_the_data() -> None:
    made = report_of({}, {"msg": HOSTILE, "failed": True})
    text = page(made, "2026-11-23T12:00:00+00:00")
    data = data_of(text)
    assert not {"<", ">", "&"} & set(data)
    assert json.loads(data)["hosts"][0]["problem"] == HOSTILE
    assert written_in(text) == "2026-11-23T12:00:00+00:00"


def test_what_is_no_page_was_not_written() -> None:
    assert written_in("") == written_in("<html></html>") == ""


def test_rows_stand_on_lines_of_their_own() -> None:
    made = report_of({"a": disk_of(FILE), "b": disk_of(NBD)}, {"vms": {}})
    lines = data_of(page(made, "now")).splitlines()
    assert [json.loads(line.rstrip(","))["vm"] for line in lines if line.startswith('{"host": "hv1", "vm"')] == [
        *"ab",
        *"ab",
    ]


def test_a_page_names_nothing_outside_itself() -> None:
    text = page(report_of({}, {"vms": {}}), "now")
    assert not re.search(r"\s(src|href|action|srcset)=|@import|url\(", text)
    assert re.findall(r"https?://[^\s\"]+", text) == ["http://www.w3.org/2000/svg"]
    assert "default-src 'none'" in text


def test_a_host_has_the_size_that_it_told() -> None:
    answers: Any = {HOST_NAME: {"vms": {}, "host": {"memory": 1 << 30, "swap": 0, "cpus": 4}}}
    [host] = report(read_fleet({HOST_NAME: {}}), answers)["hosts"]
    assert (host["memory"], host["cpus"]) == (1 << 30, 4)


def test_each_way_in_which_a_guest_is_halted_is_drift_with_advice() -> None:
    assert set(HALTED.values()) <= DRIFT.keys()
