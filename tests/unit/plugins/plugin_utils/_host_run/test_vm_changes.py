# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every change of a run is said: in the lines of its diff, and in the table at its end."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._plan.changes import Changes
from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run.managed_disks import DiskResults
from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run.vm_changes import vm_changes

UNIT = "/etc/systemd/system/qemu-vm-web1.service"
IMAGE = "/etc/systemd/system/qemu-image-0a.service"
UNCHANGED = ("restart_required", "conflicts", "left_alone", "notes")
PAIR = [("web1", "data")]
SAMPLES: dict[str, list[tuple[Any, str]]] = {
    "write_credentials": [(["/etc/credstore/qemu-vm-web1.a"], "web1"), (["/etc/credstore/qemu-image-0a.a"], "")],
    "write_files": [([UNIT], "web1"), ([IMAGE], "")],
    "remove_files": [([UNIT], "web1"), ([IMAGE], "")],
    "remove_credentials": [(["/etc/credstore/qemu-vm-web1.a"], "web1")],
    "remove_folders": [(["/var/lib/qemu-vm-web1"], "web1")],
    "remove_links": [(["/var/lib/qemu-vm-web1"], "web1")],
    "purge": [({"web1": ["/var/lib/qemu-vm-web1/a"]}, "web1")],
    "remove_images": [(["0a"], "")],
    "reload": [(True, "")],
    "enable": [(["web1"], "web1"), ([""], "")],
    "take_over": [({"web1": ["take over storage"]}, "web1")],
    "refresh": [(["qemu-vm-web1.root.nbdkit.service"], "web1")],
    **{part: [(PAIR, "web1")] for part in ("detach", "attach", "limit", "reopen", "eject", "insert")},
    **{part: [(PAIR, "web1")] for part in ("controllers", "unplug", "plug", "link", "bridge", "sizes")},
    **{names: [(["web1"], "web1")] for names in ("stop", "disable", "restart", "start", "resume", "passwords")},
    "unplug_undeclared": [({"web1": [{"id": "x", "driver": "e1000", "nodes": [], "netdev": "n"}]}, "web1")],
}


@pytest.mark.parametrize("member", [member.name for member in fields(Changes) if member.name not in UNCHANGED])
def test_every_change_has_a_line_and_a_row(member: str) -> None:
    for value, of in SAMPLES[member]:
        changes = Changes(**{member: value})
        assert changes.any()
        assert changes.actions()
        assert list(vm_changes(changes, DiskResults([]))) == [of]


def test_changes_of_the_host_are_not_told_beside_those_of_its_vms() -> None:
    changes = Changes(start=["web1"], write_files=[UNIT, IMAGE], enable=["", "web1"], reload=True)
    assert vm_changes(changes, DiskResults([])) == {"web1": ["start"]}
