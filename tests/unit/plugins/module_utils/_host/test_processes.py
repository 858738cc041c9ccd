# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a running VM is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._host import processes
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.host_state import UnitState
from ansible_collections.directdisk.qemu.tests.unit.fake_qmp import FakeQemu

ARGV = ["qemu", "-m", "64M", "-blockdev", '{"node-name":"root.format"}', "-device", "virtio-blk-pci,id=root"]
DRIVES = [
    {"qdev": "/machine/peripheral/root/virtio-backend", "node-name": "root.format"},
    {"qdev": "/machine/peripheral/cd0"},
]


def test_no_storage_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """query-block and query-named-block-nodes halt a VM while a server of its disks does not answer."""
    monkeypatch.setattr(processes.paths, "qmp_socket", lambda _vm: str(tmp_path / "s"))
    monkeypatch.setattr(processes, "_argv", lambda _pid: ARGV)
    state = cast(UnitState, {"pid": 1, "invocation": "0" * 32})
    answers: dict[str, Any] = {"query-status": {"status": "running"}, "qom-list": [], "query-blockstats": DRIVES}
    with FakeQemu(tmp_path / "s", answers=answers) as qemu:
        process = processes._process("web1", state, {})
    assert not process["error"]
    assert process["media"] == {"root": "root.format", "cd0": ""}
    assert not {"query-block", "query-named-block-nodes"} & set(qemu.heard)
