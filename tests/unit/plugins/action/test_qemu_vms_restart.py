# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restarts of VMs that need one, for one run."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.plugins.action import ActionBase

from ansible_collections.directdisk.qemu.plugins.action.qemu_vms import display
from ansible_collections.directdisk.qemu.tests.unit.plugins.action.test_qemu_vms_action import Host, run
from ansible_collections.directdisk.qemu.tests.unit.plugins.action.test_qemu_vms_only import VMS, running, vm

CHANGED: dict[str, Any] = {**VMS, "web1": vm(1, cpus=2), "db1": vm(2, cpus=2)}


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(display, "warning", lambda _text: None)
    monkeypatch.setattr(ActionBase, "run", lambda self, tmp=None, task_vars=None: {})


def restarted(host: Host, **options: Any) -> list[str]:
    result = run(host, CHANGED, check=True, **options)
    return [line for line in result["actions"] if line.startswith("restart")]


def test_a_run_restarts_what_is_due_although_it_is_not_declared() -> None:
    host = running()
    assert restarted(host) == []
    assert restarted(host, restart="due") == ["restart vm web1", "restart vm db1"]
    assert restarted(host, restart="due", only_vms="db*") == ["restart vm db1"]
    assert list(run(host, CHANGED, check=True)["restart_required"]) == ["web1", "db1"]


def test_the_host_is_told_how_many_at_a_time_and_if_by_force() -> None:
    host = running()
    run(host, CHANGED, restart="due", restart_serial="1", restart_force="true")
    assert host.calls[-1]["vms"]["desired"]["restarts"] == {"serial": 1, "force": True}
    host = running()
    run(host, CHANGED, restart="due")
    desired = host.calls[-1]["vms"]["desired"]
    assert desired["restarts"] == {"serial": 0, "force": False}
    assert (desired["vms"]["web1"]["stop_timeout"], desired["vms"]["web1"]["ready_console"]) == (90, "")


def test_a_sign_of_the_guest_is_declared() -> None:
    host = running()
    declared = {**CHANGED, "web1": vm(1, cpus=2, ready_when={"console": "login:"})}
    run(host, declared, restart="due", restart_serial=1)
    settings = host.calls[-1]["vms"]["desired"]["vms"]["web1"]
    assert (settings["ready_console"], settings["ready_timeout"]) == ("login:", 300)


def test_what_needs_a_restart_is_in_the_diff_with_its_reason() -> None:
    shown = run(running(), CHANGED, check=True, diff=True)["diff"]
    assert shown[-1]["prepared"] == (
        "restart of vm db1 required: /etc/systemd/system/qemu-vm-db1.service has changed\n"
    )


@pytest.mark.parametrize("options", [{"restart": "always"}, {"restart_serial": "-1"}, {"restart_force": "perhaps"}])
def test_other_values_are_refused(options: dict[str, Any]) -> None:
    host = running()
    assert run(host, CHANGED, **options)["msg"].startswith("hv1: qemu_vms: restart")
    assert not host.calls
