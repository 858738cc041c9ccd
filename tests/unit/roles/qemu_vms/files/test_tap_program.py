# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The program that makes and removes taps, on a copy of what the kernel says of interfaces."""

from __future__ import annotations

import importlib.util
import pwd
from pathlib import Path
from types import ModuleType

import pytest

from ansible_collections.directdisk.qemu.tests.unit.support import UNIT_TESTS

PROGRAM = UNIT_TESTS.parents[1] / "roles" / "qemu_vms" / "files" / "qemu-vm-tap.py"
USER = "nobody"


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("qemu_vm_tap", PROGRAM)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "INTERFACES", str(tmp_path))
    return module


@pytest.fixture
def called(program: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    calls: list[str] = []
    monkeypatch.setattr(program, "ip", lambda *arguments: calls.append(" ".join(arguments)))
    return calls


def interface(folder: Path, **attributes: str) -> None:
    (folder / "vm.lan").mkdir()
    for name, text in attributes.items():
        (folder / "vm.lan" / name).write_text(f"{text}\n")


ADDED = [
    f"tuntap add dev vm.lan mode tap user {USER}",
    "link set dev vm.lan master br0 up",
]
OTHERS = [
    {},  # the host's own: a VLAN, a bridge
    {"tun_flags": "0x1002", "owner": "12345"},  # a tap of another VM, or of one that was started by hand
    {"tun_flags": "0x1002", "owner": "-1"},  # root's
    {"tun_flags": "0x1001", "owner": str(pwd.getpwnam(USER).pw_uid)},  # a tunnel, no tap
]


def test_a_tap_is_made(program: ModuleType, called: list[str]) -> None:
    assert program.add("vm.lan", USER, "br0") is None
    assert called == ADDED


def test_the_vms_own_tap_is_replaced_and_removed(tmp_path: Path, program: ModuleType, called: list[str]) -> None:
    interface(tmp_path, tun_flags="0x1002", owner=str(pwd.getpwnam(USER).pw_uid))
    assert program.add("vm.lan", USER, "br0") is None
    assert program.remove("vm.lan", USER) is None
    assert called == ["link delete dev vm.lan", *ADDED, "link delete dev vm.lan"]


@pytest.mark.parametrize("attributes", OTHERS)
def test_what_is_not_the_vms_tap_is_left_alone(
    tmp_path: Path, program: ModuleType, called: list[str], attributes: dict[str, str]
) -> None:
    interface(tmp_path, **attributes)
    assert "that is not a tap of this VM's user nobody; rename" in (program.add("vm.lan", USER, "br0") or "")
    assert "and stays" in (program.remove("vm.lan", USER) or "")
    assert called == []


def test_nothing_is_removed_where_nothing_is(program: ModuleType, called: list[str]) -> None:
    assert program.remove("vm.lan", USER) is None
    assert called == []
