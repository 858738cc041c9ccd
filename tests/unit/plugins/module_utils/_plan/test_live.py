# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The changes of a running VM, from its command line and its plan."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._plan.changes import Changes, decide, digest
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.live import (
    LiveChanges,
    live_changes,
    running_now,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.live_disk import fixed_disks, live_disk, live_drives
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.live_networks import live_networks
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.plan import Plan, make_plan
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.running_parts import (
    NO_PORT,
    Part,
    parts_of,
    properties_of,
    words_of,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._programs.unit_record import kept_settings
from ansible_collections.directdisk.qemu.tests.unit.support import NBD, capabilities, plan, vm

ROOT: dict[str, Any] = {"root": NBD}
NFS: dict[str, Any] = {"nfs": {"host": "192.0.2.6", "path": "/srv/a.img", "user": 1, "group": 1}}
LIMITED: dict[str, Any] = {**NFS, "iops": {"total": 100}}
WITH_TRUST: dict[str, Any] = {
    "https": {"url": "https://192.0.2.7/x", "ca_bundle": "/etc/x.pem"},
    "route": "driver",
    "read_only": True,
}
CERTIFICATES: dict[str, Any] = {"nbd": {"host": "192.0.2.9", "tls": {"directory": "/etc/tls"}}}
PC: dict[str, Any] = {"machine": "pc"}


def argv_of(**declared: Any) -> list[str]:
    return words_of(plan({"memory": "64MiB", **declared}).services[-1].args)


def plan_after(argv: Sequence[str], declared: dict[str, Any]) -> Plan:
    """The plan of a VM that runs with a command line: its devices keep their places."""
    devices = [value.split(",") for option, value in zip(argv, argv[1:]) if option == "-device"]
    kept = {
        next(option[len("id=") :] for option in device if option.startswith("id=")): ",".join(
            option for option in device if option.startswith(("bus=", "addr=", "scsi-id="))
        )
        for device in devices
    }
    return make_plan(vm({"memory": "64MiB", **declared}), capabilities(), kept)


def changes(
    before: dict[str, Any],
    after: dict[str, Any],
    broken: tuple[str, ...] = (),
    release: tuple[int, int] = (7, 2),
) -> LiveChanges:
    argv = argv_of(**before)
    planned = plan_after(argv, after)
    parts = parts_of(words_of(planned.services[-1].args))
    return live_changes(parts_of(argv), parts, fixed_disks(planned), broken=broken, release=release)


def disks(**more: Any) -> dict[str, Any]:
    return {"disks": {**ROOT, **more}}


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (disks(), disks(), LiveChanges()),
        (disks(), disks(data=NFS), LiveChanges(attach=("data",))),
        (disks(data=NFS), disks(), LiveChanges(detach=("data",))),
        (disks(data=NFS), disks(more=NFS | {"nfs": {**NFS["nfs"], "path": "/b"}}), None),
        (disks(data=LIMITED), disks(data={**LIMITED, "iops": {"total": 50}}), LiveChanges(limit=("data",))),
        (
            disks(data=NFS),
            disks(data=LIMITED),
            LiveChanges(limit=("data",)),
        ),
        (
            disks(data=NFS),
            disks(data={"nfs": {**NFS["nfs"], "path": "/b"}}),
            LiveChanges(restart=("disk data has other storage, or other options of it",)),
        ),
        (
            disks(data={**NFS, "serial": "1"}),
            disks(data={**NFS, "serial": "2"}),
            LiveChanges(restart=("disk data has other properties in the guest",)),
        ),
        (
            {**disks(), **PC},
            {**disks(data={**NFS, "model": "ide"}), **PC},
            LiveChanges(restart=("disk data is new: an ide disk cannot be plugged while the VM runs",)),
        ),
        (
            disks(data=NFS),
            {"disks": {"data": NFS}},
            LiveChanges(restart=("disk root is not declared any more: the VM boots from it",)),
        ),
        (
            disks(),
            {**disks(), "uuid": "0b1c2d3e-4f50-4617-8293-a4b5c6d7e8f9"},
            LiveChanges(restart=("uuid has changed",)),
        ),
        (disks(), {**disks(), "guest_agent": True}, LiveChanges(restart=("guest_agent has changed",))),
        (
            disks(),
            {**disks(), "networks": {"lan": {"bridge": "br0"}}},
            LiveChanges(),
        ),
    ],
    ids=[
        "the same",
        "a new disk",
        "a disk that is gone",
        "one disk instead of another",
        "other limits",
        "new limits",
        "other storage",
        "another serial",
        "an ide disk",
        "the boot disk",
        "the UUID",
        "the guest agent",
        "a network",
    ],
)
def test_what_changes_while_a_vm_runs(
    before: dict[str, Any], after: dict[str, Any], expected: LiveChanges | None
) -> None:
    found = changes(before, after)
    if expected is None:
        assert (found.attach, found.detach) == (("more",), ("data",))
        return
    if expected.restart == ("disk root is not declared any more: the VM boots from it",):
        assert expected.restart[0] in found.restart
        assert found == LiveChanges(restart=found.restart)
        return
    assert found == expected


def test_a_disk_of_which_a_part_is_left_is_attached_again_or_detached() -> None:
    both = disks(data=NFS)
    assert changes(both, both, ("data",)) == LiveChanges(attach=("data",))
    assert changes(both, disks(), ("data",)) == LiveChanges(detach=("data",))


def test_a_controller_without_a_port_needs_a_restart() -> None:
    found = changes(
        {**disks(), "hotplug_ports": 0}, {**disks(data={**NFS, "model": "virtio-scsi"}), "hotplug_ports": 0}
    )
    assert (found.attach, found.restart) == ((), (f"disk data is new: {NO_PORT}",))


def test_ports_that_no_device_needs_are_not_said_to_be_missing() -> None:
    argv = argv_of(**disks(), hotplug_ports=0)
    more = words_of(plan_after(argv, {**disks(data=NFS), "hotplug_ports": 0}).services[-1].args)
    planned = words_of(plan_after(more, {**disks(), "hotplug_ports": 0}).services[-1].args)
    found = live_changes(parts_of(argv), parts_of(planned), {})
    assert found == LiveChanges(restart=("its unit has other ports for new devices",))


def test_more_ports_are_for_the_next_start_and_fewer_for_none() -> None:
    few, many = {**disks(), "hotplug_ports": 2}, {**disks(), "hotplug_ports": 12}
    assert changes(few, many).restart == ("its unit has other ports for new devices",)
    assert changes(many, few) == LiveChanges()
    # Free ports become fewer while the VM runs, and that is no reason for more.
    assert changes(few, {**disks(data=NFS), "hotplug_ports": 2}) == LiveChanges(attach=("data",))


def test_more_devices_than_ports_need_a_restart() -> None:
    more = {f"d{number}": {"nfs": {**NFS["nfs"], "path": f"/{number}"}} for number in range(9)}
    assert changes(disks(), disks(**more)).restart == (f"disk d8 is new: {NO_PORT}",)


@pytest.mark.parametrize(("writes", "folder"), [("overlay", "lib"), ("discard", "cache")])
def test_an_overlay_is_made_as_the_unit_makes_it(writes: str, folder: str) -> None:
    declared = disks(data={**NFS, "writes": writes})
    assert changes(disks(), declared) == LiveChanges(attach=("data",))
    one = plan(declared)
    overlay = live_disk(one, one.disks[1], parts_of(words_of(one.services[-1].args)), encrypted=False)["overlay"]
    assert overlay
    assert (overlay["persistent"], overlay["base"]) == (writes == "overlay", "data.format")
    assert overlay["path"].startswith(f"/var/{folder}/qemu-vm-web1/data")
    (made,) = (command.argv for command in one.services[-1].before if "create" in command.argv)
    assert made[-5:-1] == ("-F", overlay["format"], "-b", overlay["backing"])
    assert made[-1].removesuffix(".new") == overlay["path"]


@pytest.mark.parametrize(
    ("disk", "reason"),
    [
        ({**NFS, "writes": "overlay", "renamed_from": "old"}, "its overlay is renamed when the VM starts"),
        (
            {"http": {"url": "http://192.0.2.5/a.gz", "compression": "gzip"}, "writes": "deny"},
            "it is unpacked as it is opened",
        ),
        (WITH_TRUST, "QEMU sees its files and sockets only from its start on"),
        ({"nbd": {"socket": "/run/nbd.sock"}}, "QEMU sees its files and sockets only from its start on"),
        (
            {"nbd": {"host": "192.0.2.9", "tls": {"directory": "/etc/tls"}}},
            "from files, which it gets when the VM starts",
        ),
    ],
    ids=["renamed", "packed", "trust", "socket", "certificates"],
)
def test_why_a_disk_waits_for_a_restart(disk: dict[str, Any], reason: str) -> None:
    (found,) = changes(disks(), disks(data=disk)).restart
    assert found.startswith("disk data is new: ")
    assert reason in found


def _top(part: Part) -> str:
    return properties_of(part.devices[-1]).get("drive", "")


def process(argv: list[str], **more: Any) -> Any:
    parts = parts_of(argv)
    nodes = [name for part in parts.disks.values() for node in part.nodes for name in [node.split('"node-name":"')[1]]]
    names = [name.partition('"')[0] for name in nodes]
    devices = [device.partition(",id=")[2].partition(",")[0] for p in parts.disks.values() for device in p.devices]
    devices += [device.partition(",id=")[2].partition(",")[0] for p in parts.networks.values() for device in p.devices]
    whole = {"argv": argv, "disks": {}, "devices": devices, "nodes": names, "status": "running", "error": ""}
    whole.update(
        limits={},
        media={name: _top(part) for name, part in parts.disks.items()},
        release=[7, 2],
        undeclared=[],
        unused_nodes=[],
        jobs=[],
        sizes={"cpus": 0, "memory": 0, "requested": 0},
        networks={},
        links_down=[],
        bridges=dict.fromkeys(parts.networks, "br0"),
    )
    return {**whole, **more}


def test_what_was_attached_since_counts_and_what_is_gone_does_not() -> None:
    one = plan({"memory": "64MiB", **disks(data=NFS)})
    parts = parts_of(words_of(one.services[-1].args))
    data = live_disk(one, one.disks[1], parts, encrypted=False)
    whole = process(words_of(one.services[-1].args))
    attached = {**process(argv_of(**disks())), "disks": {"data": data}}
    assert set(running_now(attached).disks) == {"root"}
    attached.update(devices=whole["devices"], nodes=whole["nodes"])
    assert running_now(attached).disks == parts.disks
    assert set(running_now({**whole, "disks": {"data": None}}).disks) == {"root"}
    left = [name for name in whole["nodes"] if name != "data.format"]
    assert set(running_now({**whole, "devices": ["root"], "nodes": left}).disks) == {"root", "data"}


UNIT = "qemu-vm-web1.service"
PATH = f"/etc/systemd/system/{UNIT}"


def decided(
    running: dict[str, Any], now: dict[str, Any], *, before: str = "User=a", after: str = "User=a", **vm: Any
) -> Changes:
    """The changes of a VM that was started from a declaration and a unit, and has others now."""
    planned = plan_after(argv_of(**running), now)
    argv = words_of(planned.services[-1].args)
    parts = parts_of(argv)
    wanted = {
        **{"state": "started", "autostart": True, "restart": "never", "unit": UNIT, "units": [UNIT], "reloaded": []},
        **{"credentials": {UNIT: []}, "staged": [], "argv": argv, "fixed": fixed_disks(planned)},
        "disks": live_drives(planned, parts, encrypted=False),
        "networks": live_networks(planned.vm.networks, parts),
        "screen_password": "",
        "resumes": False,
    }
    started_from = {UNIT: {PATH: "old", **kept_settings(UNIT, before)}}
    more_units, more_files = vm.pop("more_units", {}), vm.pop("more_files", {})
    state = {"active": "active", "enabled": True, "reload": False, "drop_ins": {}, "started_from": started_from}
    observed = {
        **{
            "units": {**more_units, UNIT: {**state, **vm.pop("state", {})}},
            "credentials": {},
            "staged": [],
            "folders": [],
        },
        **{"links": [], "files": {PATH: {"sha256": digest("old"), "images": [], "places": {}}}},
        "processes": {"web1": {**process(argv_of(**running)), **vm.pop("process", {})}},
    }
    desired = {"files": {**more_files, PATH: {"text": after, "mode": 0o644}}, "vms": {"web1": {**wanted, **vm}}}
    return decide(desired, observed)  # type: ignore[arg-type]


def test_disks_of_a_running_vm_change_without_a_restart() -> None:
    found = decided(disks(old=NFS), disks(new={"nfs": {**NFS["nfs"], "path": "/b"}}))
    assert (found.attach, found.detach) == ([("web1", "new")], [("web1", "old")])
    assert (found.restart, found.restart_required) == ([], {})
    assert {"attach disk new of web1", "detach disk old of web1"} <= set(found.actions())
    assert found.any()


SCSI: dict[str, Any] = {**NFS, "model": "virtio-scsi"}
OTHER_SCSI: dict[str, Any] = {"nfs": {**NFS["nfs"], "path": "/b"}, "model": "virtio-scsi"}


@pytest.mark.parametrize(
    ("before", "after", "unplugged"),
    [
        (disks(data=SCSI), disks(data=SCSI), []),
        (disks(data=SCSI), disks(), ["machine.scsi-0"]),
        (disks(data=SCSI, more=OTHER_SCSI), disks(more=OTHER_SCSI), []),
        # The next one needs it.
        (disks(data=SCSI), disks(more=OTHER_SCSI), []),
        # The guest did not give it back when its last disk went.
        (disks(), disks(), ["machine.scsi-0"]),
        (disks(), disks(data=SCSI), []),
    ],
)
def test_a_controller_without_disks_is_unplugged(before: Any, after: Any, unplugged: list[str]) -> None:
    devices = [*process(argv_of(**before))["devices"], "machine.scsi-0", "machine.port1", "hand"]
    found = decided(before, after, process={"devices": devices})
    assert found.controllers == [("web1", one) for one in unplugged]


def test_a_vm_that_is_restarted_gets_its_disks_by_that() -> None:
    found = decided(disks(), {**disks(data=NFS), "memory": "128MiB"}, restart="when_needed")
    assert (found.restart, found.attach) == (["web1"], [])


def test_what_needs_a_restart_has_a_reason_and_keeps_nothing_else_waiting() -> None:
    found = decided(disks(), {**disks(data=NFS), "memory": "128MiB"})
    assert found.restart_required == {"web1": ["memory has changed"]}
    assert found.attach == [("web1", "data")]


def test_settings_that_the_process_keeps_need_a_restart() -> None:
    found = decided(disks(), disks(data=NFS), after="User=b")
    waits = "disk data is new and waits for that"
    assert found.restart_required == {"web1": ["settings of its unit have changed", waits]}
    # Its server may be of a family of addresses that the process may not use.
    assert found.attach == []


@pytest.mark.parametrize("line", ["TimeoutStopSec=1", "ExecStopPost=/bin/true", "IPAddressAllow=192.0.2.1", "# words"])
def test_settings_that_systemd_takes_when_it_reloads_need_none(line: str) -> None:
    assert decided(disks(), disks(), after=f"User=a\n{line}").restart_required == {}


def test_a_monitor_that_does_not_answer_leaves_a_restart() -> None:
    found = decided(disks(), disks(data=NFS), process={"error": "timed out"})
    assert found.restart_required == {
        "web1": [
            f"{PATH} has changed",
            "its monitor cannot be asked what it can be given (timed out); run again once it answers",
        ]
    }
    assert found.attach == []


def test_a_new_drop_in_needs_a_restart() -> None:
    found = decided(disks(), disks(), state={"drop_ins": {f"{PATH}.d/x.conf": "1"}})
    assert found.restart_required == {"web1": ["settings of its unit have changed"]}


def test_a_vm_that_keeps_a_disk_gets_its_unit_and_no_other_disks() -> None:
    found = decided(disks(old=NFS), disks(new={"nfs": {**NFS["nfs"], "path": "/b"}}))
    found.keep_devices("web1")
    assert (found.write_files, found.attach) == ([PATH], [])
    # Its helpers, and the servers that it may reach, stay until it is started again.
    assert found.restart_required == {"web1": ["its guest has not given back every device"]}


def test_a_vm_that_is_refused_is_left_as_it_is() -> None:
    found = decided(disks(old=NFS), disks(new={"nfs": {**NFS["nfs"], "path": "/b"}}))
    found.remove_credentials = ["/etc/credstore/qemu-vm-web1.old.key", "/etc/credstore/qemu-vm-web2.old.key"]
    found.remove_files = ["/etc/systemd/system/qemu-vm-web1.old.nbdkit.service"]
    found.keep_vm("web1")
    assert (found.write_files, found.remove_files, found.attach) == ([], [], [])
    # Its filter of addresses and its record are those of its former unit, which it keeps.
    assert found.changed_while_running() == []
    assert found.remove_credentials == ["/etc/credstore/qemu-vm-web2.old.key"]


def test_memory_and_cpus_change_without_a_restart() -> None:
    grows = {**disks(), "memory": "128MiB", "memory_max": "512MiB", "cpus": 1, "cpus_max": 2}
    sizes = {"sizes": {"cpus": 1, "memory": 0, "requested": 0}}
    found = decided(grows, {**grows, "memory": "256MiB", "cpus": 2}, process=sizes)
    assert (found.restart_required, found.changed_while_running()) == ({}, ["web1"])
    assert {"change memory of web1", "change cpus of web1"} <= set(found.actions())
    found.keep_vm("web1")
    assert found.changed_while_running() == []
    waits = decided(grows, {**grows, "memory_max": "1GiB", "cpus": 2}, process=sizes)
    assert waits.restart_required == {"web1": ["memory_max has changed"]}
    assert waits.sizes == [("web1", "cpus")]


LAN: dict[str, Any] = {"bridge": "br0"}


def networks(**more: Any) -> dict[str, Any]:
    return {**disks(), "networks": more}


PASSWORD = "/etc/credstore/qemu-vm-web1.machine.vnc-password"


@pytest.mark.parametrize(("known", "passwords"), [(True, ["web1"]), (False, [])], ids=["another", "the first one"])
def test_the_password_of_a_screen_changes_without_a_restart(known: bool, passwords: list[str]) -> None:
    started_from = {UNIT: {PATH: "old", **kept_settings(UNIT, "User=a"), **({PASSWORD: "1"} if known else {})}}
    credentials = {"credentials": {UNIT: [PASSWORD]}, "screen_password": PASSWORD}
    found = decided(disks(), disks(), state={"started_from": started_from}, **credentials)
    assert (found.passwords, found.restart_required) == (passwords, {})
    assert ("change password of screen of web1" in found.actions()) == known
