# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The observation of a host."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._host import observe
from ansible_collections.directdisk.qemu.plugins.module_utils._units import paths


def test_kinds_of_paths(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")
    kinds = {name: observe._kind(str(tmp_path / name)) for name in ("", "file", "pipe", "nothing")}
    assert kinds == {"": "directory", "file": "file", "pipe": "other", "nothing": "missing"}
    assert observe._kind("/dev/null") == "char"


def test_an_image_that_is_being_fetched_counts_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "image_file", lambda image: f"{tmp_path}/images/{image}")
    assert observe._staged() == []
    (tmp_path / "images").mkdir()
    for name in ("b0", "a1", "a1.part"):
        (tmp_path / "images" / name).touch()
    assert observe._staged() == ["a1", "b0"]


def test_overlays_are_found_without_the_link_that_an_absent_vm_has_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert paths.private_state_directory("web1") == "/var/lib/private/qemu-vm-web1"
    monkeypatch.setattr(paths, "private_state_directory", lambda vm: f"{tmp_path}/{vm}")
    (tmp_path / "web1").mkdir()
    (tmp_path / "web1" / "root-1a2b3c4d.qcow2").touch()
    assert observe._overlays("web1") == ["root-1a2b3c4d.qcow2"]
    assert observe._overlays("web2") == []


def test_the_first_bytes_of_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(b"QFI\xfb" + bytes(2000))
    os.mkfifo(tmp_path / "fifo")
    assert bytes.fromhex(observe._head(str(tmp_path / "image"))) == b"QFI\xfb" + bytes(1020)
    assert [observe._head(str(tmp_path / name)) for name in ("fifo", "missing", ".")] == [""] * 3
