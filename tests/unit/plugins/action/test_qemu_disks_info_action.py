# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action plugin of qemu_disks_info: one call of the module, and no secret in what it shows."""

from __future__ import annotations

import json
from typing import Any
from unittest.mock import MagicMock

import pytest
from ansible.plugins.action import ActionBase

from ansible_collections.directdisk.qemu.plugins.action.qemu_disks_info import ActionModule
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.host_state import decode

LUKS: dict[str, Any] = {"nbd": {"host": "192.0.2.5"}, "luks": {"passphrase": "geheim"}}


def test_the_host_is_asked_once_and_secrets_are_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []
    monkeypatch.setattr(ActionBase, "run", lambda self, tmp=None, task_vars=None: {})
    task = MagicMock(args={"disks": {"a": LUKS}}, check_mode=True, diff=False, async_val=0, action="qemu_disks_info")
    action = ActionModule(task, MagicMock(), MagicMock(), MagicMock(), MagicMock(), MagicMock())
    action._execute_module = lambda **arguments: asked.append(arguments["module_args"]) or {"changed": False}
    assert action.run(task_vars={"inventory_hostname": "hv1"}) == {"changed": False}
    assert decode(asked[0].pop("request")) == {"disks": {"a": LUKS}}
    assert asked == [{"disks": ["a"], "workers": 4, "open_timeout": 30}]
    assert "geheim" not in json.dumps(asked)
