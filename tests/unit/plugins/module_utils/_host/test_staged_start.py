# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A slow download holds up its own VM alone, and a run no longer than start_timeout says."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._host import apply, staged_start
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.changes import Changes
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.host_state import ProgressRow
from ansible_collections.directdisk.qemu.plugins.module_utils._process.progress import ProgressBoard
from ansible_collections.directdisk.qemu.plugins.module_utils._units import paths

SLOW, QUICK, THERE = (paths.image_unit_name(image) for image in ("0a", "0b", "0c"))
VMS = {"slow": [SLOW], "quick": [QUICK], "both": [SLOW, THERE], "there": [THERE], "none": []}
DESIRED = {
    "vms": {
        name: {
            "unit": paths.unit_name(name),
            "units": [],
            "staged": staged,
            "start_timeout": 1,
            "disks": {"root": {"helpers": staged}},
        }
        for name, staged in VMS.items()
    }
}


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[str, ...]]:
    """systemd, which is still fetching SLOW."""
    calls: list[tuple[str, ...]] = []

    def systemctl(verb: str, units: Sequence[str] = (), *options: str) -> None:
        calls.append((verb, *units, *options))

    def properties(units: Sequence[str], names: Sequence[str]) -> dict[str, dict[str, str]]:
        states = {SLOW: {"ActiveState": "activating", "StatusText": "fetches 4000 bytes"}}
        return {unit: states.get(unit, {"ActiveState": "inactive", "StatusText": ""}) for unit in units}

    monkeypatch.setattr(staged_start.systemd, "systemctl", systemctl)
    monkeypatch.setattr(staged_start.systemd, "properties", properties)
    monkeypatch.setattr(paths, "image_file", lambda image: f"{tmp_path}/{image}")
    (tmp_path / "0c").touch()
    return calls


def test_a_slow_download_is_not_waited_for(called: list[tuple[str, ...]]) -> None:
    began = time.monotonic()
    late = staged_start.await_images(DESIRED, VMS, "the VM starts by itself once it is there")
    assert time.monotonic() - began < 10
    assert sorted(late) == ["both", "slow"]
    (line,) = late["slow"]
    assert line.startswith(
        f"{SLOW} has not fetched its image within start_timeout (1 s) and continues; the VM starts by"
    )
    assert called == [("start", SLOW, QUICK, "--no-block")]


def test_a_download_is_listed_with_its_progress_while_it_goes_on(
    called: list[tuple[str, ...]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "0a.part").write_bytes(b"x" * 1000)
    board = ProgressBoard()
    seen: list[list[ProgressRow]] = []
    states = iter([{"ActiveState": "activating", "StatusText": "fetches 4000 bytes"}])
    ended = {"ActiveState": "inactive", "StatusText": ""}
    monkeypatch.setattr(staged_start.systemd, "properties", lambda units, names: {SLOW: next(states, ended)})
    monkeypatch.setattr(staged_start.time, "sleep", lambda seconds: seen.append(board.rows()))
    assert staged_start.await_images(DESIRED, ["slow"], "", board) == {}
    ((row,), after) = seen
    assert (row["name"], row["step"], row["done"], row["total"]) == ("root of slow", "download", 1000, 4000)
    assert after == []


def test_nothing_is_asked_where_every_image_is_there(called: list[tuple[str, ...]]) -> None:
    assert staged_start.await_images(DESIRED, ["there", "none", ""], "") == {}
    assert called == []


def test_the_other_vms_start_meanwhile(called: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apply, "_stop_former_starts", lambda desired, names: None)
    failed = apply._switch(DESIRED, Changes(start=["slow", "quick"]))
    assert list(failed) == ["slow"]
    assert called[1:] == [("start", "qemu-vm-slow.service", "--no-block"), ("start", "qemu-vm-quick.service")]
