# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a module's main() in this process, as a host would."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from types import ModuleType
from typing import Any
from unittest import mock

import pytest
from ansible.module_utils import basic

from ansible_collections.directdisk.qemu.plugins.module_utils._process import privileges


class _Exit(Exception):
    pass


def module_arguments(arguments: Mapping[str, Any]) -> AbstractContextManager[Any]:
    """Return a context in which modules get these arguments."""
    try:
        from ansible.module_utils.testing import patch_module_args
    except ImportError:  # ansible-core 2.16
        sent = json.dumps({"ANSIBLE_MODULE_ARGS": dict(arguments)}).encode()
        return mock.patch.object(basic, "_ANSIBLE_ARGS", sent)
    context: AbstractContextManager[Any] = patch_module_args(dict(arguments))
    return context


def run_module(
    monkeypatch: pytest.MonkeyPatch, module: ModuleType, *, root: bool = True, **arguments: Any
) -> dict[str, Any]:
    """The module's answer, whether it succeeded or failed; root: whoever runs the tests."""
    if root:
        monkeypatch.setattr(privileges, "require_root", lambda: None)
    answers: list[dict[str, Any]] = []

    def end(_module: Any, **answer: Any) -> None:
        # Ansible sends JSON and nothing else.
        answers.append(json.loads(json.dumps(answer)))
        raise _Exit

    monkeypatch.setattr(basic.AnsibleModule, "exit_json", end)
    monkeypatch.setattr(basic.AnsibleModule, "fail_json", lambda m, msg, **facts: end(m, failed=True, msg=msg, **facts))
    with module_arguments(arguments), pytest.raises(_Exit):
        module.main()
    return answers[0]
