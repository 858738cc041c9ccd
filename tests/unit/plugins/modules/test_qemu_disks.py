# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host's part of qemu_disks: what it hands on, and what it says of the results."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._errors import CapabilityError
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.entries import read_entries
from ansible_collections.directdisk.qemu.plugins.module_utils._images import batch
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.host_state import encode
from ansible_collections.directdisk.qemu.plugins.module_utils._process.progress import ProgressBoard
from ansible_collections.directdisk.qemu.plugins.module_utils._routes.capabilities import Capabilities
from ansible_collections.directdisk.qemu.plugins.modules import qemu_disks
from ansible_collections.directdisk.qemu.tests.unit.plugins.modules.module_run import run_module
from ansible_collections.directdisk.qemu.tests.unit.support import probed

LOOKED = {"changed": False, "actions": [], "warnings": [], "state": "present", "size": 5, "format": "raw"}
SAME = {**LOOKED, "name": "a", "before": {"exists": True}, "after": {"exists": True}, "blockdev": []}
MADE = {**SAME, "name": "b", "changed": True, "actions": ["create b"], "before": {"exists": False}}
FAILED = {"name": "c", "changed": False, "failed": True, "refused": False, "msg": "disk c: it is full"}


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """With what the disks were worked on; ``results`` in it is what comes out."""
    observed: dict[str, Any] = {"results": []}

    def reconcile_all(entries: Any, capabilities: Any, **options: Any) -> list[dict[str, Any]]:
        observed.update(entries=entries, capabilities=capabilities, options=options)
        return [dict(result) for result in observed["results"]]

    monkeypatch.setattr(qemu_disks, "probe", lambda: probed("debian12"))
    monkeypatch.setattr(qemu_disks, "reconcile_all", reconcile_all)
    return observed


def ask(monkeypatch: pytest.MonkeyPatch, **more: Any) -> dict[str, Any]:
    request = encode({"disks": {"a": {"nbd": {"host": "192.0.2.5"}}}, "predict": False})
    return run_module(monkeypatch, qemu_disks, disks=["a"], request=request, **more)


def test_results_come_with_what_a_look_found(monkeypatch: pytest.MonkeyPatch, called: dict[str, Any]) -> None:
    called["results"] = [SAME, MADE]
    answer = ask(monkeypatch, workers=7)
    assert answer["changed"] is True
    assert [(disk["name"], disk["image"]) for disk in answer["disks"]] == [
        ("a", {"exists": True}),
        ("b", {"exists": True}),
    ]
    header = {"before_header": "disk b", "after_header": "disk b"}
    state = {"before": {"exists": False}, "after": {"exists": True}}
    assert answer["diff"] == [{**header, **state, "prepared": "disk b: create b\n"}]
    assert isinstance(called["options"].pop("board"), ProgressBoard)
    assert called["options"] == {"workers": 7, "open_timeout": 30, "check_mode": False, "lacking": {}}
    assert [entry.name for entry in called["entries"]] == ["a"]


def test_a_failure_is_told_beside_the_results_of_the_others(
    monkeypatch: pytest.MonkeyPatch, called: dict[str, Any]
) -> None:
    called["results"] = [MADE, FAILED, {**FAILED, "name": "d", "msg": "disk d: one\ndisk d: two"}]
    answer = ask(monkeypatch)
    assert (answer["failed"], answer["changed"]) == (True, True)
    assert answer["msg"].split("\n") == ["disk c: it is full", "disk d: one", "disk d: two"]
    assert [disk["name"] for disk in answer["disks"]] == ["b", "c", "d"]


def test_an_unexpected_error_is_told_with_its_traceback(
    monkeypatch: pytest.MonkeyPatch, called: dict[str, Any]
) -> None:
    called["results"] = [FAILED, {**FAILED, "name": "d", "msg": "disk d: KeyError: 1", "exception": "Traceback: 1"}]
    answer = ask(monkeypatch)
    assert (answer["exception"], answer["disks"][1]["exception"]) == ("Traceback: 1", "Traceback: 1")
    called["results"] = [FAILED]
    assert "exception" not in ask(monkeypatch)


def test_a_prediction_is_made_in_check_mode(monkeypatch: pytest.MonkeyPatch, called: dict[str, Any]) -> None:
    ask(monkeypatch, _ansible_check_mode=True)
    assert called["options"]["check_mode"] is True


def test_a_warning_says_which_disk_it_is_about(monkeypatch: pytest.MonkeyPatch, called: dict[str, Any]) -> None:
    said: list[str] = []
    monkeypatch.setattr(qemu_disks.AnsibleModule, "warn", lambda _module, warning: said.append(warning))
    called["results"] = [{**SAME, "warnings": ["it is old"]}]
    assert "warnings" not in ask(monkeypatch)["disks"][0]
    assert said == ["disk a: it is old"]


def test_what_is_missing_for_one_backend_is_handed_on(monkeypatch: pytest.MonkeyPatch, called: dict[str, Any]) -> None:
    def need(backends: Any, family: str) -> None:
        raise CapabilityError("nbd", f"no Python has it on {family}")

    monkeypatch.setattr(batch, "need_bindings", need)
    ask(monkeypatch)
    assert {name: str(error) for name, error in called["options"]["lacking"].items()} == {
        "nbd": "nbd: no Python has it on debian"
    }


def test_without_its_action_plugin_it_does_nothing(monkeypatch: pytest.MonkeyPatch, called: dict[str, Any]) -> None:
    answer = run_module(monkeypatch, qemu_disks, disks=[{"nbd": {"host": "h"}}])
    assert answer["failed"] is True
    assert "entries" not in called


@pytest.mark.parametrize("way", ["info", "check", "change"])
def test_the_units_of_vms_are_read_once_for_all_disks_that_are_only_read(
    monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    used: list[Any] = []
    monkeypatch.setattr(batch, "StorageUsers", object)
    monkeypatch.setattr(batch, "reconcile", lambda _kind, _disk, bench, **_: used.append(bench.users) or SAME)
    disks = {name: {"nbd": {"host": f"192.0.2.{number}"}} for number, name in enumerate("abcdef")}
    entries, capabilities = read_entries(disks), Capabilities.from_probe(probed("debian12"))
    if way == "info":
        batch.inform_about(entries, capabilities, workers=2, open_timeout=1, lacking={})
    else:
        batch.reconcile_all(entries, capabilities, check_mode=way == "check", workers=2, lacking={})
    assert len(used) == 6
    assert len({id(one) for one in used}) == 1
    assert (used[0] is None) == (way == "change")
