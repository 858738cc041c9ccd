# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run over many hosts says at its end."""

from __future__ import annotations

from typing import Any

from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run import steps
from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run.last_lines import last_lines


def observed(**result: Any) -> dict[str, Any]:
    return {steps.OBSERVED: {"fleet": {"id": "1"}, **result}}


def test_vms_that_need_a_restart_are_named_with_the_reasons() -> None:
    required = {"web1": ["/etc/systemd/system/qemu-vm-web1.service has changed", "/etc/a.conf is new"]}
    lines = last_lines({"hv1": observed(restart_required=required), "hv2": observed(), "hv3": {}})
    assert lines == [
        "VMs that need a restart (-e qemu_vms_restart=due): web1 on hv1 (/etc/systemd/system/qemu-vm-web1.service has "
        "changed; /etc/a.conf is new)"
    ]


def test_vms_that_were_left_out_are_named_up_to_a_number() -> None:
    names = [f"vm{number}" for number in range(30)]
    (line,) = last_lines({"hv1": observed(left_out=names)})
    assert line.startswith("VMs left as they are by qemu_vms_only: vm0 on hv1, vm1 on hv1")
    assert line.endswith("vm19 on hv1, and 10 more")
