# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filters of addresses of running VMs whose units are replaced."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._host import address_filters

UNIT = "qemu-vm-web1.service"
FILTERED = "[Service]\nIPAddressDeny=any\nIPAddressAllow=192.0.2.2\n"
BEFORE = {UNIT: {"IPAddressAllow": "192.0.2.1/32", "IPAddressDeny": "::/0 0.0.0.0/0"}}


@pytest.fixture
def done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What systemd is told, where set-property leaves a drop-in."""
    calls: list[str] = []

    def set_property(unit: str, *settings: str) -> None:
        (tmp_path / f"{unit}.d").mkdir(exist_ok=True)
        calls.append(" ".join(settings))

    monkeypatch.setattr(address_filters, "_CONTROL", str(tmp_path))
    monkeypatch.setattr(address_filters.systemd, "set_property", set_property)
    monkeypatch.setattr(address_filters.systemd, "systemctl", lambda verb, *_: calls.append(verb))
    return calls


def test_a_vm_that_is_as_its_unit_says_reaches_its_servers_alone(done: list[str], tmp_path: Path) -> None:
    address_filters.apply({UNIT: FILTERED}, BEFORE, keep=())
    assert done == ["IPAddressAllow= IPAddressAllow=192.0.2.2", "daemon-reload"]
    assert list(tmp_path.iterdir()) == []


def test_a_vm_that_has_given_back_its_last_server_reaches_none(done: list[str]) -> None:
    address_filters.apply({UNIT: "[Service]\nIPAddressDeny=any\n"}, BEFORE, keep=())
    assert done[0] == "IPAddressAllow="


def test_a_vm_that_runs_on_with_its_former_disks_still_reaches_them(done: list[str], tmp_path: Path) -> None:
    address_filters.apply({UNIT: FILTERED}, BEFORE, keep=[UNIT])
    assert done == ["IPAddressAllow= IPAddressAllow=192.0.2.1/32 IPAddressAllow=192.0.2.2"]
    # Until its next start.
    assert [path.name for path in tmp_path.iterdir()] == [f"{UNIT}.d"]
    assert address_filters.remove([UNIT])
    assert not address_filters.remove([UNIT])


def test_a_vm_that_had_no_filter_gets_none_while_it_runs_on(done: list[str]) -> None:
    address_filters.apply({UNIT: FILTERED}, {UNIT: {"IPAddressAllow": "", "IPAddressDeny": ""}}, keep=[UNIT])
    assert done == ["IPAddressDeny="]


NO_FILTER = {UNIT: "[Service]\n# No filter of addresses: why.\n"}


def test_a_filter_that_the_new_unit_does_not_have_is_taken_from_the_process(done: list[str]) -> None:
    address_filters.apply(NO_FILTER, BEFORE, keep=[UNIT])
    assert done == ["IPAddressAllow= IPAddressDeny="]


def test_a_unit_without_a_filter_is_left_to_systemd(done: list[str]) -> None:
    address_filters.apply(NO_FILTER, {}, keep=[UNIT])
    assert done == []
