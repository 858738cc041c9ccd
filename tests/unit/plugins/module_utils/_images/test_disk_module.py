# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets within a backend's key or a source are in no log and no result of a module for one disk."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible.module_utils import basic

from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.argument_spec import (
    argument_spec,
    disk_module_options,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.kinds import KINDS
from ansible_collections.directdisk.qemu.plugins.module_utils._images.module import DiskModule
from ansible_collections.directdisk.qemu.tests.unit.plugins.modules.module_run import module_arguments
from ansible_collections.directdisk.qemu.tests.unit.support import SSH_KEY

SSH: dict[str, Any] = {"host": "h", "user": "u", "path": "/a", "key": SSH_KEY, "passphrase": "hush1"}
HTTPS: dict[str, Any] = {"url": "https://h/x", "pass": "", "cookie": "hush2", "password": "hush3"}
SECRET = ("hush", SSH_KEY.splitlines()[1], SSH_KEY.splitlines()[3])


@pytest.fixture(name="logged")
def log(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(basic.AnsibleModule, "_log_to_syslog", lambda _module, line: lines.append(line))
    monkeypatch.setattr(basic, "has_journal", False)
    return lines


@pytest.mark.parametrize(
    "arguments",
    [
        {"ssh": SSH, "source": {"https": HTTPS, "luks": {"passphrase": "hush4"}}},
        {"nfs": {"host": "h", "path": "/a"}, "source": {"ssh": SSH}, "luks": {"passphrase": "hush5"}},
        {"nfs": {"host": "h", "path": "/a"}, "source": json.dumps({"ssh": SSH})},
    ],
)
def test_a_secret_within_is_hidden(logged: list[str], capsys: pytest.CaptureFixture[str], arguments: Any) -> None:
    spec = argument_spec(disk_module_options(KINDS["image"]))
    with module_arguments(arguments):
        module = DiskModule(argument_spec=spec)
        with pytest.raises(SystemExit):
            module.exit_json(image=module.params, key=SSH_KEY)
    assert logged and "'path': '/a'" in logged[0]
    assert [word for word in SECRET if word in logged[0]] == []
    said = capsys.readouterr().out
    assert '"h"' in said
    assert [word for word in SECRET if word in said] == []


def test_a_secret_within_is_hidden_if_another_argument_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = {"ssh": SSH, "source": {"https": HTTPS}, "state": "prsent"}
    with module_arguments(arguments), pytest.raises(SystemExit):
        DiskModule(argument_spec=argument_spec(disk_module_options(KINDS["image"])))
    said = capsys.readouterr().out
    assert "prsent" in said
    assert [word for word in SECRET if word in said] == []
