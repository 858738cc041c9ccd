# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a running VM is asked."""

from __future__ import annotations

import os
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


TAP = "tap,ifname=t0,script=no"
BIG = "9" * 5000


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        ("qom-get", "many"),
        ("qom-get", [1]),
        ("query-status", []),
        ("query-blockstats", {"node-name": 1}),
        ("qom-list", [{"name": f"device[{BIG}]", "type": "child<virtio-blk-pci>"}]),
        ("query-hotpluggable-cpus", 7),
    ],
)
def test_what_a_taken_over_qemu_answers_is_the_error_of_its_vm(
    command: str, answer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = ["-m", "size=1B,maxmem=2B", "-smp", "cpus=1,maxcpus=2"]
    process = observed_of([ARGV[0], *memory, *ARGV[1:]], {command: answer}, tmp_path, monkeypatch)
    assert process["error"] == "its command line or its monitor is not as QEMU has it"


@pytest.mark.parametrize(
    "words",
    [["-netdev", TAP], ["-blockdev", "{"], ["-blockdev", '{"node-name":{}}'], ["-m", f"size={BIG}B"]],
)
def test_a_command_line_that_qemu_has_changed_is_the_error_of_its_vm(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = observed_of([ARGV[0], *words, *ARGV[1:]], {}, tmp_path, monkeypatch)
    assert processes.taps_in_use({"web1": process}) == {"web1": ["t0"] if TAP in words else []}
    assert process["error"] == ("" if TAP in words else "its command line or its monitor is not as QEMU has it")


def observed_of(
    argv: list[str], changed: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> processes.ObservedProcess:
    """Return the observation of a VM whose monitor answers some commands in another way than QEMU."""
    monkeypatch.setattr(processes.paths, "qmp_socket", lambda _vm: str(tmp_path / "s"))
    monkeypatch.setattr(processes, "_argv", lambda _pid: argv)
    monkeypatch.setattr(processes.taps, "bridge_of", lambda _tap: "")
    answers: dict[str, Any] = {"query-status": {"status": "running"}, "qom-list": [], "query-blockstats": DRIVES}
    with FakeQemu(tmp_path / "s", answers={**answers, **changed}):
        return processes._process("web1", cast(UnitState, {"pid": 1, "invocation": "0" * 32}), {})


def test_no_more_is_read_than_a_command_line_can_have(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = processes._argv(os.getpid())
    monkeypatch.setattr(processes, "LONGEST_COMMAND", len(whole[0]) + 1)
    assert processes._argv(os.getpid()) == whole[:1]
