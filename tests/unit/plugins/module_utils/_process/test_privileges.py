# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Users that no other process has; and every module says at once that it needs root."""

from __future__ import annotations

import contextlib
import os
from types import ModuleType
from typing import Any

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError
from ansible_collections.directdisk.qemu.plugins.module_utils._process import privileges
from ansible_collections.directdisk.qemu.plugins.modules import (
    qemu_disks,
    qemu_info,
    qemu_iscsi_disk,
    qemu_rbd_disk,
    qemu_remote_image,
    qemu_vms,
)
from ansible_collections.directdisk.qemu.tests.unit.plugins.modules.module_run import run_module

HTTP = {"http": {"url": "http://192.0.2.7/a"}}


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        (qemu_vms, {"vms": {"stop": []}}),
        (qemu_info, {}),
        (qemu_disks, {"disks": []}),
        (qemu_remote_image, HTTP),
        (qemu_iscsi_disk, {"portal": "192.0.2.9", "target": "iqn.2026-01.example:a", "lun": 1}),
        (qemu_rbd_disk, {"pool": "vms", "image": "a"}),
    ],
    ids=lambda value: value.__name__.rpartition(".")[2] if isinstance(value, ModuleType) else "",
)
def test_a_module_of_another_user_names_become(
    monkeypatch: pytest.MonkeyPatch, module: ModuleType, arguments: dict[str, Any]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    answer = run_module(monkeypatch, module, root=False, **arguments)
    assert answer == {"failed": True, "msg": "needs root on the host: set become: true"}


def test_two_that_work_at_the_same_time_never_have_one_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(privileges, "is_root", lambda: True)
    monkeypatch.setattr(privileges, "_TAKEN", set())
    with contextlib.ExitStack() as stack:
        workers = [stack.enter_context(privileges.own_user()) for _worker in range(32)]
        for _question in range(200):
            with privileges.own_user() as user:
                assert user not in workers
        others = [stack.enter_context(privileges.own_user()) for _other in range(32)]
        assert len({*workers, *others}) == 64
        assert {user // 64 for user in (*workers, *others)} == {(0x70000000 // 64) + os.getpid()}
        with pytest.raises(HostError, match="this run has 64 users of its own already; set fewer workers"):
            stack.enter_context(privileges.own_user())
    assert set() == privileges._TAKEN


def test_the_users_of_the_highest_pid_are_numbers_of_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(privileges, "is_root", lambda: True)
    monkeypatch.setattr(os, "getpid", lambda: (1 << 22) - 1)
    with privileges.own_user() as user:
        assert user < 1 << 31
