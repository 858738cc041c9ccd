# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table at the end of a run over many hosts."""

from __future__ import annotations

from typing import Any

from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run import steps
from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run.run_table import lines_of, run_table

UNIT = "write unit"


def runs(name: str, process: str = "") -> dict[str, Any]:
    return {"name": name, "uuid": "", "declared": not process, "runs": True, "process": process, "storage": []}


def observed(declared: str, *running: dict[str, Any], **result: Any) -> dict[str, Any]:
    """The registered result of a host on which VMs run; declared: their names."""
    members = ("undeclared", "halted", "starts", "stops")
    fleet = {
        "id": "1",
        "declared": declared.split(),
        "runs": list(running),
        "undeclared": [],
        "starts": [],
        "stops": [],
    }
    fleet.update({name: result.pop(name) for name in members if name in result})
    return {steps.OBSERVED: {"fleet": fleet, "missing": [], "changes": {}, **result}}


def applied(**result: Any) -> dict[str, Any]:
    return {steps.APPLIED: {"of": "1", **result}}


def lines(results: dict[str, Any], *, check: bool = False) -> list[str]:
    return lines_of(run_table(results, check=check), check=check)


def test_a_fleet_that_is_as_declared_is_one_line() -> None:
    assert lines({"hv1": observed("a b", runs("a"), runs("b")), "hv2": observed("c", runs("c"))}) == [
        "3 VMs on 2 hosts as declared"
    ]


def test_vms_that_changed_or_need_somebody_have_a_row_each() -> None:
    processes = (runs("web1"), runs("web2"), runs("db", "process 1"))
    hv1 = observed("new web1 web2 web3", *processes, halted={"web2": "io-error"}, due=True)
    hv1[steps.OBSERVED]["fleet"]["starts"] = [{"name": "new", "uuid": "", "runs_on": False, "disks": []}]
    changes = {"new": ["create disk root", "start"], "web1": [UNIT]}
    hv1 |= applied(changes=changes, restart_required={"web1": ["memory has changed", "cpus changed"]})
    assert lines({"hv1": hv1, "hv2": observed("web4", undeclared=["old"])}) == [
        "HOST  VM    STATE      CHANGED                  RESTART REQUIRED                  NOTE",
        "----  ----  ---------  -----------------------  --------------------------------  ------------------------",
        "hv1   db    running    -                        -                                 not declared (process 1)",
        "hv1   web2  I/O error  -                        -                                 -",
        "hv2   old   stopped    -                        -                                 not declared",
        "hv1   web1  running    write unit               memory has changed; cpus changed  -",
        "hv1   new   running    create disk root, start  -                                 -",
        "2 other VMs on 2 hosts as declared",
        "to restart what requires it: -e qemu_vms_restart=due",
    ]


def test_check_mode_says_what_would_change() -> None:
    hv1 = observed("web1", due=True, changes={"web1": ["start"]}) | applied(changes={"web1": ["start"]})
    hv1[steps.OBSERVED]["fleet"]["starts"] = [{"name": "web1", "uuid": "", "runs_on": False, "disks": []}]
    table = lines({"hv1": hv1}, check=True)
    assert [line.split() for line in (table[0], table[2])] == [
        ["HOST", "VM", "STATE", "WOULD", "CHANGE"],
        ["hv1", "web1", "stopped", "start"],
    ]


def test_changes_that_were_not_made_are_not_called_changes() -> None:
    hv1 = observed("web1 web2", due=True, changes={"web1": ["start"], "web2": ["start"]})
    (row, other) = run_table({"hv1": hv1}, check=False).rows
    assert (row["changed"], row["note"]) == ([], "not changed: the run ended before")
    hv1 |= applied(failed=True, failures=["web1"], changes={"web1": ["start"], "web2": ["start"]})
    (row, other) = run_table({"hv1": hv1}, check=False).rows
    assert (row["vm"], row["state"], row["changed"], row["note"]) == ("web1", "", [], "failed: see its error above")
    assert (other["vm"], other["changed"]) == ("web2", ["start"])
    broken = observed("web1", due=True, changes={"web1": ["start"]}) | {steps.APPLIED: {"failed": True}}
    assert run_table({"hv1": broken}, check=False).rows[0]["note"] == "failed: see its error above"


def test_hosts_without_an_answer_are_rows_and_later_ones_a_number() -> None:
    results = {
        "hv1": {steps.OBSERVED: {"failed": True, "msg": "..."}},
        "hv2": {steps.OBSERVED: {"unreachable": True}},
        "hv3": {},
        "hv4": {steps.OBSERVED: {"fleet": observed("a b c d e")[steps.OBSERVED]["fleet"], "missing": ["a driver"]}},
    }
    for check, note in (
        (True, "lacks packages, so that its VMs are not planned"),
        (False, "not changed: the run ended before"),
    ):
        assert [(row["host"], row["state"], row["note"]) for row in run_table(results, check=check).rows] == [
            ("hv1", "failed", ""),
            ("hv2", "unreachable", ""),
            ("hv4", "", note),
        ]
    assert lines(results)[-2:] == ["0 other VMs on 1 host as declared", "1 host not asked yet"]


def test_vms_that_are_left_out_are_a_number() -> None:
    names = [f"vm{number}" for number in range(30)]
    assert lines({"hv1": observed(" ".join(["web1", *names]), left_out=names)}) == [
        "1 VM on 1 host as declared",
        "30 VMs left unchanged by qemu_vms_only",
    ]


def test_a_host_that_changes_while_its_vms_stay_has_a_row() -> None:
    hv1 = observed("web1 web2", due=True, changes={"": ["reload systemd"]}) | applied(changes={"": ["reload systemd"]})
    table = run_table({"hv1": hv1}, check=True)
    assert lines_of(table, check=True)[2:] == [
        "hv1   reload systemd",
        "2 other VMs on 1 host as declared",
    ]


def test_a_vm_that_is_left_out_and_has_a_row_is_counted_once() -> None:
    table = lines(
        {"hv1": observed("web1 web2 web3", runs("web1"), halted={"web1": "io-error"}, left_out=["web1", "web2"])}
    )
    assert table[-2:] == ["1 other VM on 1 host as declared", "1 VM left unchanged by qemu_vms_only"]


def test_a_vm_that_is_removed_and_left_out_is_no_vm() -> None:
    hv1 = observed("web1", runs("web1"), undeclared=["old"], left_out=["web1", "gone"])
    assert lines({"hv1": hv1})[-2:] == ["0 other VMs on 1 host as declared", "1 VM left unchanged by qemu_vms_only"]


def test_a_process_with_the_name_of_a_declared_vm_is_not_that_vm() -> None:
    assert lines({"hv1": observed("web1", runs("web1", "process 1"))})[-1] == "1 other VM on 1 host as declared"


def test_a_vm_that_is_removed_is_none_of_the_declared_ones() -> None:
    changes = {"gone": ["stop"], "older": ["remove unit"]}
    hv1 = observed("web1 web2", runs("web1"), runs("web2"), due=True) | applied(changes=changes)
    assert lines({"hv1": hv1})[-1] == "2 other VMs on 1 host as declared"


def test_a_large_fleet_has_a_bounded_table_with_what_is_urgent_first() -> None:
    changes = {f"vm{number:03}": ["attach disk data" * 20] for number in range(200)}
    hosts = {f"hv{number}": observed(" ".join(changes), due=True) | applied(changes=changes) for number in range(50)}
    hosts["hv9"] = {steps.OBSERVED: {"unreachable": True}}
    table = lines(hosts)
    assert len(table) == 2 + 40 + 2
    assert table[2].split() == ["hv9", "-", "unreachable", "-"]
    assert table[-2:] == ["... and 9761 more (directdisk.qemu.report shows all)", "0 other VMs on 49 hosts as declared"]
    assert max(map(len, table)) < 160


def test_names_of_processes_cannot_control_the_terminal() -> None:
    table = lines({"hv1": observed("", runs("evil\x1b[2J\n\t", "process 1"))})
    assert "hv1   evil\\x1b[2J\\x0a   running  not declared (process 1)" in table
