# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host's part of qemu_vms, thin: requests are passed on, secrets decoded, errors told."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError
from ansible_collections.directdisk.qemu.plugins.module_utils._host import apply, observe
from ansible_collections.directdisk.qemu.plugins.modules import qemu_vms
from ansible_collections.directdisk.qemu.tests.unit.plugins.modules.module_run import run_module
from ansible_collections.directdisk.qemu.tests.unit.support import probed

PATH = "/etc/credstore/qemu-vm-web1.root.password"
CREDENTIALS = {PATH: base64.b64encode("pässword\n".encode()).decode()}


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the host's functions were called with; they do nothing here."""
    seen: dict[str, Any] = {}

    def record(name: str, answer: Any) -> Any:
        return lambda *arguments, **options: (seen.update({name: (arguments, options)}), answer)[1]

    monkeypatch.setattr(qemu_vms, "probe", record("probe", probed("debian12")))
    monkeypatch.setattr(observe, "observe", record("observe", {"files": {}}))
    monkeypatch.setattr(apply, "apply", record("apply", {"actions": ["start vm web1"], "failures": {}}))
    return seen


def test_a_look_reports_capabilities_and_what_was_seen(monkeypatch: pytest.MonkeyPatch, calls: dict[str, Any]) -> None:
    request = {"observe": {"vms": ["web1"], "paths": [], "texts": True}}
    answer = run_module(monkeypatch, qemu_vms, vms=request, credentials=CREDENTIALS)
    assert answer == {"capabilities": probed("debian12"), "observed": {"files": {}}}
    assert calls["observe"] == ((), {**request["observe"], "secrets": {PATH: "pässword\n"}, "encrypted": True})
    assert "apply" not in calls


def test_an_apply_is_handed_on_with_its_secrets(monkeypatch: pytest.MonkeyPatch, calls: dict[str, Any]) -> None:
    desired: dict[str, Any] = {"files": {}, "vms": {}}
    answer = run_module(monkeypatch, qemu_vms, vms={"desired": desired, "encrypted": False}, credentials=CREDENTIALS)
    assert answer == {"actions": ["start vm web1"], "failures": {}}
    assert calls["apply"] == ((desired, {PATH: "pässword\n"}), {"encrypted": False})
    assert "probe" not in calls


def test_a_stop_is_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apply, "stop", lambda names: {"stopped": names})
    assert run_module(monkeypatch, qemu_vms, vms={"stop": ["web1"]}) == {"stopped": ["web1"]}


def test_an_error_of_the_host_is_told_in_its_words(monkeypatch: pytest.MonkeyPatch, calls: dict[str, Any]) -> None:
    def fail(**_options: Any) -> None:
        raise HostError("/srv/a.qcow2 is declared as qcow2, but it is none")

    monkeypatch.setattr(observe, "observe", fail)
    answer = run_module(monkeypatch, qemu_vms, vms={"observe": {}})
    assert answer == {"failed": True, "msg": "/srv/a.qcow2 is declared as qcow2, but it is none"}
