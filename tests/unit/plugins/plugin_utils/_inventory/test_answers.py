# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Declarations compared with what their hosts have."""

from __future__ import annotations

from typing import Any

from ansible_collections.directdisk.qemu.plugins.plugin_utils._inventory import answers
from ansible_collections.directdisk.qemu.plugins.plugin_utils._inventory.declared import read_fleet

GIB = 1024**3


def host(*version: int, gib: int = 4) -> answers.HostFacts:
    size = {"memory": gib * GIB, "swap": 0, "cpus": 4}
    return answers.HostFacts(host=size, capabilities={"version": list(version)})


def fleet(**vms: Any) -> Any:
    return read_fleet({name: {"qemu_vms": declared} for name, declared in vms.items()})


def test_memory_is_compared_with_that_of_the_host_that_declares_the_vm() -> None:
    declared = fleet(hv1={"a": {"memory": "3GiB"}, "b": {"memory": "2GiB"}}, hv2={"c": {"memory": "5GiB"}}, hv3={})
    asked = {"hv1": host(7, 2, 22), "hv2": host(7, 2, 22, gib=8), "hv3": answers.HostFacts()}
    assert [text.partition(" (")[0] for text in answers.warnings(declared, asked)] == [
        "hv1: its VMs are declared with 5.0 GiB of memory together"
    ]
    assert answers.errors(declared, asked) == []
    asked["hv2"] = host(7, 2, 22)
    assert [error.where for error in answers.errors(declared, asked)] == ["hv2: vm c: memory"]
    assert answers.errors(declared, {}) == []


def test_an_unversioned_board_is_warned_of_where_releases_of_qemu_differ() -> None:
    declared = fleet(
        hv1={"a": {}, "b": {"machine": "pc-q35-7.2"}}, hv2={"c": {"machine": "pc"}, "d": {"state": "absent"}}
    )
    same = {"hv1": host(10, 0, 1), "hv2": host(10, 0, 13)}
    assert not list(answers.warnings(declared, same))
    (warning,) = answers.warnings(declared, {**same, "hv1": host(7, 2, 22)})
    assert warning == (
        "the hosts have different releases of QEMU (7.2 on hv1; 10.0 on hv2), and machine: q35 or pc is another board "
        "on each: a, c; if they move between hosts, declare a board that all of them know, such as machine: pc-q35-7.2"
    )
    assert not list(answers.warnings(fleet(hv1={"b": {"machine": "pc-q35-7.2"}}), {**same, "hv1": host(7, 2, 22)}))
