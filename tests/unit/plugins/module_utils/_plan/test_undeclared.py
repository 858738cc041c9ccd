# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What somebody has added to a running VM over its monitor, or has paused, is seen and put right."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._plan.live_disk import live_drives
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.running_parts import parts_of, words_of
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.undeclared import names_of
from ansible_collections.directdisk.qemu.tests.unit.plugins.module_utils._plan.test_live import (
    LAN,
    NFS,
    argv_of,
    decided,
    disks,
    networks,
    process,
)
from ansible_collections.directdisk.qemu.tests.unit.support import plan

HAND: dict[str, Any] = {
    **{"id": "hand", "driver": "virtio-blk-pci", "nodes": ["hand0"], "netdev": ""},
}
NIC: dict[str, Any] = {"id": "/machine/peripheral-anon/device[3]", "driver": "e1000", "nodes": []}
NIC["netdev"] = "other"


def test_a_device_that_nobody_declares_is_unplugged() -> None:
    found = decided(disks(), disks(), process={"undeclared": [HAND, NIC]})
    assert found.unplug_undeclared == {"web1": [HAND, NIC]}
    assert found.any()
    assert found.changed_while_running() == ["web1"]
    assert [line for line in found.actions() if "undeclared" in line] == [
        "unplug undeclared device hand (virtio-blk-pci, nodes hand0) of web1",
        "unplug undeclared device /machine/peripheral-anon/device[3] (e1000, network other) of web1",
    ]
    found.keep_vm("web1")
    assert found.changed_while_running() == []


def test_nothing_is_taken_from_a_job() -> None:
    found = decided(disks(), disks(), process={"undeclared": [HAND], "jobs": ["job backup0"]})
    assert found.unplug_undeclared == {}
    assert found.notes == [
        "vm web1: device hand (virtio-blk-pci, nodes hand0) was added over the monitor and is not declared; it "
        "stays until this has ended: job backup0"
    ]


def test_a_node_without_a_device_is_only_named() -> None:
    found = decided(disks(), disks(), process={"unused_nodes": ["target"]})
    assert found.notes == [
        "vm web1: node target was added over the monitor and is not declared, and no device uses it; if no job needs "
        "it, remove it there (blockdev-del)"
    ]
    assert found.changed_while_running() == []


@pytest.mark.parametrize(
    ("after", "now", "problem"),
    [
        (disks(data=NFS), {"nodes": ["data.format"]}, "disk data of web1: the running VM has node data.format, which "),
        (disks(data=NFS), {"devices": ["data"]}, "disk data of web1: the running VM has device data, which "),
        (networks(lan=LAN), {"devices": ["lan.nic"]}, "network lan of web1: the running VM has device lan.nic, which "),
    ],
    ids=["a node", "a device", "a network interface"],
)
def test_a_name_that_somebody_has_taken_leaves_the_vm_alone(
    after: dict[str, Any], now: dict[str, Any], problem: str
) -> None:
    whole = process(argv_of(**disks()))
    taken = {name: [*whole[name], *more] for name, more in now.items()}
    found = decided(disks(), after, process={**taken, "undeclared": [HAND]})
    assert found.conflicts["web1"][0].startswith(problem)
    assert (found.attach, found.plug, found.unplug_undeclared, found.restart_required) == ([], [], {}, {})


def test_what_a_run_has_added_is_no_conflict_when_it_was_ended() -> None:
    one = plan({"memory": "64MiB", **disks(data=NFS)})
    record = live_drives(one, parts_of(words_of(one.services[-1].args)), encrypted=False)["data"]
    nodes = [*process(argv_of(**disks()))["nodes"], "data.storage"]
    found = decided(disks(), disks(data=NFS), process={"nodes": nodes, "disks": {"data": record}})
    assert (found.conflicts, found.attach) == ({}, [("web1", "data")])


@pytest.mark.parametrize(
    ("status", "resumes", "argv", "resumed"),
    [
        ("paused", True, [], True),
        ("paused", False, [], False),
        ("running", True, [], False),
        ("io-error", True, [], False),
        ("prelaunch", True, [], False),
        ("postmigrate", True, [], False),
        ("paused", True, ["-incoming", "tcp:0:4444"], False),
    ],
)
def test_only_a_vm_that_somebody_has_paused_is_resumed(
    status: str, resumes: bool, argv: list[str], resumed: bool
) -> None:
    now = {"status": status, "argv": [*argv_of(**disks()), *argv]}
    found = decided(disks(), disks(), process=now, resumes=resumes)
    assert found.resume == (["web1"] if resumed else [])
    assert ("resume vm web1, which was paused over its monitor" in found.actions()) == resumed


def test_all_that_a_process_was_started_with_is_known() -> None:
    extra = [
        *("-drive", "if=none,file=/srv/a,id=mine,node-name=deep"),
        *("-blockdev", '{"driver":"raw","node-name":"top","file":{"driver":"file","node-name":"below"}}'),
        *("-device", '{"driver":"virtio-blk-pci","drive":"top","id":"json"}', "-object", "{broken"),
        *("-blockdev", "raw,node-name=keyval,file.node-name=inner"),
    ]
    now = process([*argv_of(**networks(lan=LAN)), *extra])
    known = names_of(now)
    assert {"mine", "deep", "top", "below", "json", "keyval", "inner", "root", "root.format", "lan", "lan.nic"} <= known


def test_what_the_vm_has_given_back_is_not_known_any_more() -> None:
    argv = argv_of(**{**disks(data=NFS), "networks": {"lan": LAN}})
    gone = process(argv, disks={"data": None}, networks={"lan": None})
    assert names_of(gone) & {"data", "data.format", "lan.nic"} == set()
