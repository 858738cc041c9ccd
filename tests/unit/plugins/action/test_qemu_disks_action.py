# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action plugin of qemu_disks: errors before the host is asked, and secrets hidden on their way to it."""

from __future__ import annotations

import json
from typing import Any
from unittest.mock import MagicMock

import pytest
from ansible.plugins.action import ActionBase

from ansible_collections.directdisk.qemu.plugins.action.qemu_disks import ActionModule
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.host_state import decode
from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run.action import plain
from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run.jobs import WAIT

LUKS = {"nbd": {"host": "192.0.2.5"}, "luks": {"passphrase": "geheim"}}


def run(monkeypatch: pytest.MonkeyPatch, **arguments: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The result of the task, and with what the host was asked."""
    asked: list[dict[str, Any]] = []

    def execute(*, module_name: str, module_args: dict[str, Any], task_vars: Any) -> dict[str, Any]:
        assert module_name == "directdisk.qemu.qemu_disks"
        asked.append(module_args)
        return {"changed": False, "disks": []}

    monkeypatch.setattr(ActionBase, "run", lambda self, tmp=None, task_vars=None: {})
    task = MagicMock(args=arguments, check_mode=False, diff=False, async_val=0, action="qemu_disks")
    action = ActionModule(task, MagicMock(), MagicMock(), MagicMock(), MagicMock(), MagicMock())
    action._execute_module = execute
    return action.run(task_vars={"inventory_hostname": "hv1"}), asked


@pytest.mark.parametrize("disks", [{"a": LUKS}, [{**LUKS, "name": "a"}]])
def test_the_host_is_asked_once_and_secrets_are_hidden(monkeypatch: pytest.MonkeyPatch, disks: Any) -> None:
    result, (asked,) = run(monkeypatch, disks=disks, workers="8")
    assert result == {"changed": False, "disks": []}
    assert decode(asked.pop("request")) == {"disks": disks, "predict": False, "wait": WAIT}
    assert asked == {"disks": ["a"], "workers": 8, "open_timeout": 30}
    assert "geheim" not in json.dumps(asked)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "hv1: qemu_disks: disks is missing: the disks, as a list or as a mapping of names to disks"),
        ({"disks": [], "wrkers": 1}, "hv1: qemu_disks: unknown option 'wrkers' (did you mean 'workers'?)"),
        ({"disks": [], "workers": 0}, "hv1: qemu_disks: workers: 0 is less than 1"),
        ({"disks": {"a": {"nbd": {}}}}, "hv1: disk a: nbd: exactly one of host and socket is required"),
    ],
)
def test_what_is_wrong_is_said_before_the_host_is_asked(
    monkeypatch: pytest.MonkeyPatch, arguments: dict[str, Any], message: str
) -> None:
    result, asked = run(monkeypatch, **arguments)
    assert result["failed"] is True
    assert result["msg"] == message
    assert asked == []


def test_what_ansible_wraps_becomes_plain() -> None:
    class Text(str):
        pass

    unpacked = plain({Text("a"): (Text("x"), 5, 1.5, True, None)})
    assert unpacked == {"a": ["x", 5, 1.5, True, None]}
    assert [type(one) for one in unpacked["a"]] == [str, int, float, bool, type(None)]
