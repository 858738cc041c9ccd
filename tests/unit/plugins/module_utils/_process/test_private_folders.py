# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What modules that were killed have left is removed, and nothing of one that runs."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._process import private_folders

NAME = "ansible_directdisk.qemu.qemu_vms_payload_"


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def left(place: Path, name: str, *, age: float = 7200) -> Path:
    folder = place / name
    folder.mkdir()
    (folder / "payload.zip").touch()
    os.utime(folder, (time.time() - age,) * 2)
    return folder


def test_what_a_killed_module_has_left_is_removed(place: Path) -> None:
    folder = left(place, f"{NAME}abc")
    private_folders.remove_payloads()
    assert not folder.exists()


def test_what_a_running_module_holds_stays(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = left(place, f"{NAME}abc")
    file = f"{folder}/ansible_directdisk.qemu.qemu_vms_payload.zip/ansible_collections/x/private_folders.py"
    monkeypatch.setattr(private_folders, "__file__", file)
    private_folders.lock_payload()
    private_folders.remove_payloads()
    assert folder.exists()


@pytest.mark.parametrize("name", [f"{NAME}new", "ansible_ansible.builtin.copy_payload_abc", "qemu-disks-abc"])
def test_what_is_young_or_others_stays(place: Path, name: str) -> None:
    folder = left(place, name, age=60 if name.endswith("new") else 7200)
    private_folders.remove_payloads()
    assert folder.exists()


def test_a_link_and_a_folder_of_another_user_stay(place: Path, tmp_path: Path) -> None:
    victim = left(tmp_path, "victim")
    (place / f"{NAME}link").symlink_to(victim)
    foreign = left(place, f"{NAME}foreign")
    if os.geteuid() == 0:
        os.chown(foreign, 12345, 12345)
    private_folders.remove_payloads()
    assert (victim / "payload.zip").exists()
    assert os.geteuid() != 0 or foreign.exists()


def test_a_module_that_runs_from_no_archive_holds_nothing() -> None:
    assert private_folders._payload_of("/usr/lib/python3/x/private_folders.py") == ""
    assert private_folders._payload_of(f"/tmp/{NAME}a/x_payload.zip/y.py") == f"/tmp/{NAME}a"
