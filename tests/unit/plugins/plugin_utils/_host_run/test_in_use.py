# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""VMs of whose storage nobody knows who has it open, as the controller warns of them."""

from __future__ import annotations

from typing import Any

from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run.in_use import storage_not_asked
from ansible_collections.directdisk.qemu.tests.unit.support import vm

VM: dict[str, Any] = {
    "disks": {"root": {"nbd": {"host": "192.0.2.5"}}, "data": {"nbd": {"host": "192.0.2.6"}}},
}
OBSERVED = {"not_asked": {"nbd:192.0.2.5:10809/": "no answer within 4 s"}}


def test_a_disk_whose_storage_did_not_answer_is_named() -> None:
    assert storage_not_asked([vm(VM)], OBSERVED, "hv1") == [
        "hv1: disk root of web1: nbd 192.0.2.5:10809/: it is not known who has it open (no answer within 4 s); "
        "the unit asks again when it starts"
    ]


def test_a_disk_that_the_run_creates_is_not_asked_about() -> None:
    assert storage_not_asked([vm(VM)], OBSERVED, "hv1", {"data of web1": {}}) != []
    assert storage_not_asked([vm(VM)], OBSERVED, "hv1", {"root of web1": {}}) == []


def test_a_vm_that_is_not_to_run_opens_nothing() -> None:
    assert storage_not_asked([vm({**VM, "state": "stopped"})], OBSERVED, "hv1") == []
