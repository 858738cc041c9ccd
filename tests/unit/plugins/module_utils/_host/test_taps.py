# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tap devices that guests have kept: they are removed once their VMs were stopped, and no others are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._host import taps

UNIT = "qemu-vm-web1.service"


@pytest.fixture
def done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    calls: list[str] = []
    monkeypatch.setattr(taps, "RECORD", str(tmp_path / "taps.json"))
    monkeypatch.setattr(taps, "_INTERFACES", str(tmp_path))
    monkeypatch.setattr(taps, "run", lambda command: calls.append(" ".join(command)))
    folder = tmp_path / "web1.lan"
    folder.mkdir()
    (folder / "owner").write_text("64000\n", encoding="ascii")
    monkeypatch.setattr(taps.systemd, "show", lambda units: states("inactive", "1"))
    taps.remember_kept("web1", "web1.lan", "1")
    return calls


def states(active: str, invocation: str) -> Any:
    return {UNIT: {"active": active, "invocation": invocation}}


@pytest.mark.parametrize(
    ("now", "in_use", "removed"),
    [
        (states("active", "1"), {"web1": ["web1.lan"]}, False),
        (states("active", "2"), {"web1": []}, True),
        (states("active", "2"), {}, False),
        (states("active", "2"), {"web1": ["web1.lan"]}, False),
        (states("inactive", "1"), {}, True),
        ({}, {}, True),
    ],
    ids=["still kept", "restarted", "not asked", "restarted with it", "stopped", "removed"],
)
def test_a_kept_tap_device_is_removed_after_the_stop(
    done: list[str], now: Any, in_use: Any, removed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(taps.systemd, "show", lambda units: {unit: now[unit] for unit in units if unit in now})
    taps.remove_former(in_use)
    assert done == (["/sbin/ip link delete dev web1.lan"] if removed else [])
    taps.remove_former(in_use)
    assert len(done) == removed


def test_an_interface_of_another_user_stays(done: list[str], tmp_path: Path) -> None:
    (tmp_path / "web1.lan" / "owner").write_text("65000\n", encoding="ascii")
    taps.remove_former({})
    assert done == []


def test_an_interface_without_a_user_stays(done: list[str], tmp_path: Path) -> None:
    """An interface that is gone, or that is no tap device, has no owner either time."""
    (tmp_path / "web1.lan" / "owner").unlink()
    taps.remember_kept("web1", "web1.lan", "1")
    taps.remove_former({})
    assert done == []


def test_the_bridge_of_a_tap_device_is_read(tmp_path: Path, done: list[str]) -> None:
    assert taps.bridge_of("web1.lan") == ""
    (tmp_path / "web1.lan" / "master").symlink_to("../br0")
    assert taps.bridge_of("web1.lan") == "br0"
