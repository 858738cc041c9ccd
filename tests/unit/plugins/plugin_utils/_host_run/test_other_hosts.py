# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A VM runs once across the fleet: which starts are refused, and which wait for a stop on another host."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.vm import (
    opened_storage,
    other_names,
    uuid_of,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._units import paths
from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run import steps
from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run.compare import compare
from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run.other_hosts import (
    HostReport,
    decide_starts,
    host_report,
    predicted_changes,
    running_twice,
    storage_in_use,
)
from ansible_collections.directdisk.qemu.tests.unit.support import NBD, SSH, disk_of, vm

WEB1 = disk_of(NBD)
ABSENT = {**WEB1, "state": "absent"}
RUNS_THERE = "hv2: disk root of web1 (nbd 192.0.2.5:10809/): web1 runs on hv1"
FSID = "5b8e2a6e-0d4b-4a8d-9f57-3f7a4c1d2e3f"
MOVE = "; to move it here, declare it state: absent on hv1, or stop it there first"
Vms = Mapping[str, Mapping[str, Any]]


def process(**changes: Any) -> dict[str, Any]:
    """A QEMU process that is not the collection's, as it is observed."""
    facts: dict[str, Any] = {"pid": 4711, "unit": "db.service", "uuid": "", "name": "db", "vm": True}
    return {**facts, "disks": {}, "opens": {}, **changes}


def report(declared: Vms, running: Vms | None = None, *processes: Any, **observed: Any) -> HostReport:
    """running: the declarations that running VMs were started from."""
    vms = [vm(given, name) for name, given in declared.items()]
    units, files = {}, {}
    for name, given in (running or {}).items():
        units[paths.unit_name(name)] = {"active": "active", "enabled": True}
        path = f"{paths.UNIT_DIRECTORY}/{paths.unit_name(name)}"
        one = vm(given, name)
        files[path] = {"opened": opened_storage(one), "spellings": other_names(one), "uuid": one.uuid}
    seen = {"units": units, "files": files, "unmanaged": list(processes), **observed}
    undeclared = sorted(set(running or {}) - set(declared))
    return host_report("1", vms, seen, undeclared, predicted_changes(vms, seen))


def test_a_host_reports_the_guests_that_are_to_run_and_do_not() -> None:
    processes = {name: {"status": "io-error"} for name in ("web1", "waits", "off", "away")}
    declared = {"web1": WEB1, "waits": {**WEB1, "extra_args": ["-S"]}, "off": {**WEB1, "state": "stopped"}}
    assert report(declared, declared, processes=processes)["halted"] == {"web1": "io-error"}
    for status in ("shutdown", "suspended", "postmigrate"):
        assert report(declared, declared, processes={"web1": {"status": status}})["halted"] == {"web1": status}
    for status in ("running", "inmigrate", ""):
        assert report(declared, declared, processes={"web1": {"status": status}})["halted"] == {}


def restarted(there: HostReport, name: str, declared: Vms) -> HostReport:
    """The same host where a VM is restarted, too."""
    return {**there, "starts": [*there["starts"], *report({name: declared[name]})["starts"]]}


def errors(**reports: HostReport) -> list[str]:
    return [str(error) for error in decide_starts(reports).errors]


def test_a_vm_that_another_host_runs_without_a_declaration_is_not_started() -> None:
    assert errors(hv1=report({}, {"web1": WEB1}), hv2=report({"web1": WEB1})) == [
        f"{RUNS_THERE}, which does not declare it{MOVE}"
    ]
    local = disk_of({"file": {"path": "/srv/a"}})
    assert errors(hv1=report({}, {"web1": local}), hv2=report({"web1": local})) == [
        f"hv2: vm web1: web1 runs on hv1, which does not declare it{MOVE}"
    ]


def test_a_vm_that_another_host_runs_and_declares_is_not_started() -> None:
    assert errors(hv1=report({"web1": WEB1}, {"web1": WEB1}), hv2=report({"web1": WEB1})) == [f"{RUNS_THERE}{MOVE}"]


def test_a_vm_that_another_host_starts_at_its_next_boot_is_not_started() -> None:
    left = {"active": "inactive", "enabled": True}
    units = {"qemu-vm-web1.service": left, "qemu-vm-web1.root.nbdkit.service": left}
    files = {
        f"{paths.UNIT_DIRECTORY}/qemu-vm-web1.service": {
            "opened": opened_storage(vm(WEB1, "web1")),
            "spellings": {},
            "uuid": "",
        }
    }
    there = report({}, units=units, files=files)
    will_run = RUNS_THERE.replace("runs", "will run from the next boot")
    assert errors(hv1=there, hv2=report({"web1": WEB1})) == [f"{will_run}, which does not declare it{MOVE}"]
    disabled = {unit: {**state, "enabled": False} for unit, state in units.items()}
    assert errors(hv1=report({}, units=disabled, files=files), hv2=report({"web1": WEB1})) == []
    assert errors(hv1=report({"web1": ABSENT}, units=units, files=files), hv2=report({"web1": WEB1})) == []
    assert running_twice({"hv1": there, "hv2": report({"web1": WEB1}, {"web1": WEB1})}) == []


def test_two_vms_that_start_in_one_run_do_not_share_a_disk() -> None:
    message = "is the same storage as hv1: disk root of web1, and one of them writes to it (nbd 192.0.2.5:10809/)"
    assert errors(hv1=report({"web1": WEB1}), hv2=report({"db": WEB1})) == [f"hv2: disk root of db: {message}"]
    reader = disk_of(NBD, writes="deny")
    assert errors(hv1=report({"web1": WEB1}), hv2=report({"db": reader})) == [f"hv2: disk root of db: {message}"]
    assert errors(hv1=report({"web1": reader}), hv2=report({"db": reader})) == []
    local = disk_of({"file": {"path": "/srv/a"}})
    assert errors(hv1=report({"web1": local}), hv2=report({"db": local})) == []


def test_storage_that_a_vm_of_another_name_has_open_elsewhere_is_not_opened() -> None:
    there = report({}, {"db": WEB1})
    assert errors(hv1=there, hv2=report({"web1": WEB1})) == [
        "hv2: disk root of web1 (nbd 192.0.2.5:10809/): db on hv1 has the same storage open, and one of them writes to "
        "it; declare db state: absent or stopped on hv1, or give web1 on hv2 another disk"
    ]
    reader = disk_of(NBD, writes="deny")
    assert errors(hv1=there, hv2=report({"web1": reader})) != []
    assert errors(hv1=report({}, {"db": reader}), hv2=report({"web1": reader})) == []


def test_storage_that_a_vm_keeps_until_its_restart_is_not_opened_beside_it() -> None:
    other = disk_of({"nbd": {"host": "192.0.2.6"}})
    still = (
        "hv1: disk root of web1 (nbd 192.0.2.5:10809/): db still has the same storage open, and one of them writes to "
        "it; stop db, or restart it once its declaration has another disk"
    )
    here = report({"db": other, "web1": WEB1}, {"db": WEB1})
    assert errors(hv1=here) == [still]
    assert errors(hv1=report({"db": {**other, "state": "stopped"}, "web1": WEB1}, {"db": WEB1})) == []
    local = disk_of({"file": {"path": "/srv/a"}})
    assert len(errors(hv1=report({"db": other, "web1": local}, {"db": local}))) == 1
    # Restarted in the same run, before others start; by then its storage no longer tells that it has it open.
    restarts = restarted(here, "db", {"db": other})
    restarts["in_use"] = {disk["use"]["identity"]: "is open" for disk in here["starts"][0]["disks"]}
    assert errors(hv1=restarts) == []
    same = restarted(here, "db", {"db": WEB1})
    assert errors(hv1=same)[0] == still
    # Two that exchange their disks restart together.
    both = report({"db": other, "web1": WEB1}, {"db": WEB1, "web1": other})
    assert len(errors(hv1=restarted(restarted(both, "db", {"db": other}), "web1", {"web1": WEB1}))) == 2


@pytest.mark.parametrize(
    ("former", "declared", "resolved"),
    [
        ({"nfs": {"host": "storage.lan", "path": "/a"}}, {"nfs": {"host": "192.0.2.9", "path": "/a"}}, True),
        ({"nbd": {"host": "storage.lan"}}, {"nbd": {"host": "other.lan"}}, True),
        ({"rbd": {"pool": "vms", "image": "a", "fsid": FSID}}, {"rbd": {"pool": "vms", "image": "a"}}, False),
        ({"rbd": {"pool": "vms", "image": "a"}}, {"rbd": {"pool": "vms", "image": "a", "fsid": FSID}}, False),
        ({"ssh": {**SSH, "path": "/home/me/a"}}, {"ssh": {**SSH, "path": "a"}}, False),
    ],
)
def test_storage_that_a_vm_was_started_with_is_known_under_another_name(
    former: dict[str, Any], declared: dict[str, Any], resolved: bool
) -> None:
    names = {"storage.lan": ["192.0.2.9"], "other.lan": ["192.0.2.9"]} if resolved else {}
    vms = {"db": disk_of({"nbd": {"host": "192.0.2.66"}}), "web1": disk_of(declared)}
    there = report(vms, {"db": disk_of(former)}, names=names)
    assert "db still has the same storage open" in errors(hv1=there)[0]
    others = disk_of({"rbd": {"pool": "vms", "image": "b"}})
    assert errors(hv1=report({**vms, "web1": others}, {"db": disk_of(former)}, names=names)) == []


def test_vms_of_one_name_with_storage_of_their_own_run_on_two_hosts() -> None:
    other = disk_of({"nbd": {"host": "192.0.2.6"}})
    local = disk_of({"file": {"path": "/srv/a"}})
    assert errors(hv1=report({"web1": other}, {"web1": other}), hv2=report({"web1": WEB1})) == []
    assert errors(hv1=report({"web1": local}, {"web1": local}), hv2=report({"web1": local})) == []


def test_a_vm_with_a_declared_uuid_is_known_by_it_elsewhere() -> None:
    own = "0b1c2d3e-4f50-4617-8293-a4b5c6d7e8f9"
    there = report({}, {"web1": {**disk_of({"file": {"path": "/srv/a"}}), "uuid": own}})
    here = {**disk_of({"file": {"path": "/srv/b"}}), "uuid": own.upper()}
    assert errors(hv1=there, hv2=report({"web1": here}))[0].startswith("hv2: vm web1: web1 runs on hv1")
    assert errors(hv1=there, hv2=report({"web1": {**here, "uuid": own.replace("0b", "1b")}})) == []


def test_a_vm_that_runs_without_the_collection_elsewhere_is_not_started() -> None:
    by_storage = report({}, {}, process(disks=WEB1["disks"]))
    by_uuid = report({}, {}, process(name="web1", uuid=uuid_of("web1")))
    message = (
        "runs on hv1 without the collection (process 4711, db.service), and is the same VM or has the same storage "
        "open; stop it on hv1 first"
    )
    assert errors(hv1=by_storage, hv2=report({"web1": WEB1})) == [
        f"hv2: disk root of web1 (nbd 192.0.2.5:10809/): db {message}"
    ]
    assert errors(hv1=by_uuid, hv2=report({"web1": WEB1})) == [f"hv2: vm web1: web1 {message}"]
    # Declaring it does not stop it.
    leaving = report({"db": ABSENT}, {}, process(disks=WEB1["disks"]))
    assert errors(hv1=leaving, hv2=report({"web1": WEB1})) != []


@pytest.mark.parametrize("state", ["absent", "stopped"])
def test_a_vm_that_leaves_a_host_is_started_once_it_has_stopped(state: str) -> None:
    here = report({"web1": {**WEB1, "state": state}}, {"web1": WEB1})
    decision = decide_starts({"hv1": here, "hv2": report({"web1": WEB1})})
    assert (decision.errors, decision.stops) == ([], {"hv1": ["web1"]})
    assert decision.waits == {"hv2": {"web1": {"hv1": ["web1"]}}}


def test_two_vms_that_change_their_places_are_both_stopped_first() -> None:
    web2 = disk_of({"nbd": {"host": "192.0.2.6"}})
    gone2 = {**web2, "state": "absent"}
    reports = {
        "hv1": report({"web1": ABSENT, "web2": web2}, {"web1": WEB1}),
        "hv2": report({"web2": gone2, "web1": WEB1}, {"web2": web2}),
    }
    decision = decide_starts(reports)
    assert (decision.errors, decision.stops) == ([], {"hv1": ["web1"], "hv2": ["web2"]})


def test_a_host_that_cannot_be_asked_if_it_has_stopped_a_vm_is_named() -> None:
    hostvars = {
        "hv1": {"qemu_vms": {"web1": ABSENT}},
        "hv2": {"qemu_vms": {"web1": WEB1}, steps.OBSERVED: {"fleet": report({"web1": WEB1})}},
        "hv3": {"qemu_vms": {}},
    }
    comparison = compare(hostvars, ["hv2"])
    assert [str(error) for error in comparison.errors] == [
        "hv2: vm web1: hv1 declares it absent and could not be asked if it has stopped there; "
        "run both hosts together, or remove the declaration from hv1 once it has stopped"
    ]
    assert len(comparison.warnings) == 1
    assert comparison.warnings[0].startswith("not asked which VMs run there: hv1, hv3 (")


def test_a_vm_does_not_start_before_all_hosts_of_the_play_are_asked() -> None:
    hostvars = {
        "hv1": {"qemu_vms": {}},
        "hv2": {"qemu_vms": {"web1": WEB1}, steps.OBSERVED: {"fleet": report({"web1": WEB1})}},
        "web": {},
    }
    later = "hv2: vm web1: hv1: of the same play, and not asked yet if it runs there; "
    assert [str(error).startswith(later) for error in compare(hostvars, ["hv1", "hv2", "web"]).errors] == [True]
    assert compare(hostvars, ["hv2", "web"]).errors == []  # with --limit
    # What runs may be restarted host by host.
    restarts = restarted(report({"web1": WEB1}, {"web1": WEB1}), "web1", {"web1": WEB1})
    hostvars["hv2"][steps.OBSERVED] = {"fleet": restarts}
    assert compare(hostvars, ["hv1", "hv2", "web"]).errors == []
    hostvars["hv2"][steps.OBSERVED] = {"fleet": report({"web1": WEB1})}
    hostvars["hv1"][steps.OBSERVED] = {"fleet": report({})}
    assert compare(hostvars, ["hv1", "hv2", "web"]).errors == []


def test_one_disk_in_two_vms_is_refused_as_by_plan() -> None:
    hostvars = {
        "hv1": {"qemu_vms": {"a": WEB1}},
        "hv2": {"qemu_vms": {"b": WEB1}, steps.OBSERVED: {"fleet": report({"b": WEB1})}},
        "hv3": {"qemu_vms": {"c": WEB1, "d": WEB1}},
    }
    assert [str(error) for error in compare(hostvars, ["hv2"]).errors] == [
        "hv2: disk root of b: is the same storage as hv1: disk root of a, and one of them writes to it "
        "(nbd 192.0.2.5:10809/)"
    ]
    hostvars["hv2"][steps.OBSERVED] = {"fleet": report({"b": WEB1}, {"b": WEB1})}
    assert compare(hostvars, ["hv2"]).errors == []  # where nothing starts, nothing is read


def test_storage_that_somebody_has_open_is_refused_unless_its_vm_stops_first() -> None:
    (start,) = report({"web1": WEB1})["starts"]
    identity = start["disks"][0]["use"]["identity"]
    in_use = {identity: "is open by client 192.0.2.77"}
    assert [str(error) for error in storage_in_use("hv2", start, in_use, set())] == [
        "hv2: disk root of web1: nbd 192.0.2.5:10809/ is open by client 192.0.2.77"
    ]
    assert list(storage_in_use("hv2", start, in_use, {identity})) == []
    moved = {"hv1": report({"web1": ABSENT}, {"web1": WEB1}), "hv2": report({"web1": WEB1}, in_use=in_use)}
    assert errors(**moved) == []
    assert errors(hv2=moved["hv2"]) != []


def test_what_was_done_since_a_report_counts() -> None:
    leaving = report({"web1": ABSENT}, {"web1": WEB1})
    start = report({"web1": WEB1})

    def decided(**results: Any) -> tuple[list[str], dict[str, list[str]]]:
        found = steps.reports_of({"hv1": {steps.OBSERVED: {"fleet": leaving}, **results}, "hv2": {}})
        decision = decide_starts({**found, "hv2": start})
        return [str(error) for error in decision.errors], decision.stops

    assert decided() == ([], {"hv1": ["web1"]})
    assert decided(**{steps.APPLIED: {"of": "1"}}) == ([], {})
    assert decided(**{steps.STOPPED_FIRST: {"of": "1", "stopped": ["web1"]}}) == ([], {})
    # Of another run, or failed: it may still run.
    assert decided(**{steps.APPLIED: {"of": "0"}}) == ([], {"hv1": ["web1"]})
    assert decided(**{steps.STOPPED_FIRST: {"of": "0", "stopped": ["web1"]}}) == ([], {"hv1": ["web1"]})
    assert len(decided(**{steps.APPLIED: {"of": "1", "failed": True}})[0]) == 1
    # It failed for this VM, or for another one.
    assert len(decided(**{steps.APPLIED: {"of": "1", "failed": True, "failures": ["web1"]}})[0]) == 1
    assert decided(**{steps.APPLIED: {"of": "1", "failed": True, "failures": ["db"]}}) == ([], {})
    started = steps.reports_of({"hv3": {steps.OBSERVED: {"fleet": start}, steps.APPLIED: {"of": "1"}}})
    assert errors(**started, hv2=start) == [f"{RUNS_THERE}{MOVE}".replace("hv1", "hv3")]


def test_a_vm_that_runs_twice_already_is_told() -> None:
    runs = report({"web1": WEB1}, {"web1": WEB1})
    assert running_twice({"hv1": runs, "hv2": runs}) == [
        "web1 on hv1 and web1 on hv2 write to the same storage, or are the same VM, and both run; stop one of them now"
    ]
    leaving = report({"web1": ABSENT}, {"web1": WEB1})
    assert running_twice({"hv1": leaving, "hv2": runs}) == []
    local = disk_of({"file": {"path": "/srv/a"}})
    both = report({"web1": local}, {"web1": local})
    assert running_twice({"hv1": both, "hv2": both}) == []
    cut = running_twice({"hv1": report({}, {"web1": local}), "hv2": both})
    assert cut == ["web1 on hv1 and web1 on hv2 are the same VM, and both run; stop one of them now"]
