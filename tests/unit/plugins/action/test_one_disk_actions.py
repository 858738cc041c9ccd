# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The actions of the modules for one disk wait for work that goes on without its connection."""

from __future__ import annotations

import json
from importlib import import_module
from typing import Any
from unittest.mock import MagicMock

import pytest
from ansible.plugins.action import ActionBase

from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run import jobs

ROW = {"name": "rbd vms/web1", "step": "copy", "done": 1 << 30, "total": 4 << 30, "rate": 1 << 20, "left": 3072}
NAMES = ("qemu_rbd_disk", "qemu_iscsi_disk", "qemu_remote_image")


def run(monkeypatch: pytest.MonkeyPatch, name: str, *, seconds: int = 0) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the result of a task, and the arguments of its module; seconds: of async."""
    asked: dict[str, Any] = {}

    def execute(*, module_name: str, module_args: dict[str, Any], **_: Any) -> dict[str, Any]:
        asked.update({module_name: module_args})
        return {"changed": False, "job": "job-1", "progress": [ROW]}

    plugin = import_module(f"ansible_collections.directdisk.qemu.plugins.action.{name}")
    monkeypatch.setattr(ActionBase, "run", lambda self, tmp=None, task_vars=None: {})
    task = MagicMock(args={"size": "4GiB", "wait": 9}, async_val=seconds, action=f"directdisk.qemu.{name}")
    action = plugin.ActionModule(task, MagicMock(), MagicMock(), MagicMock(), MagicMock(), MagicMock())
    action._execute_module = execute
    answer = f"result\n{json.dumps({'changed': True})}"
    action._low_level_execute_command = lambda command: {"rc": 0, "stdout": answer}
    return action.run(task_vars={"inventory_hostname": "hv1"}), asked


@pytest.mark.parametrize("name", NAMES)
def test_the_progress_is_printed_and_the_answer_is_that_of_the_work(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    shown: list[str] = []
    monkeypatch.setattr(jobs, "show", shown.append)
    result, asked = run(monkeypatch, name)
    assert result == {"changed": True}
    assert asked == {f"directdisk.qemu.{name}": {"size": "4GiB", "wait": jobs.WAIT}}
    assert shown == ["hv1: disk rbd vms/web1: copy: 25 % of 4 GiB, 1 MiB/s, 51 min 12 s left"]


def test_with_async_ansible_waits_and_the_module_does_all(monkeypatch: pytest.MonkeyPatch) -> None:
    result, asked = run(monkeypatch, NAMES[0], seconds=60)
    assert asked == {f"directdisk.qemu.{NAMES[0]}": {"size": "4GiB", "wait": None}}
    assert result["job"] == "job-1"
