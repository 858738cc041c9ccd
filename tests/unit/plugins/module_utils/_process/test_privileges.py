# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every module says at once that it needs root."""

from __future__ import annotations

import os
from types import ModuleType
from typing import Any

import pytest

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
