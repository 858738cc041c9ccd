# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that running VMs have open: what is read of them is what a real QEMU says."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._access.workbench import Workbench
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import StorageError
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.contract import DesiredImage
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.image.observed import ObservedFile
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.kinds import read_desired
from ansible_collections.directdisk.qemu.plugins.module_utils._images.image import file, open_file
from ansible_collections.directdisk.qemu.plugins.module_utils._images.image.open_file import observe_open_file
from ansible_collections.directdisk.qemu.tests.unit.real_parts import disk, make_image, needs_qemu, open_bench


def declared(path: Path, **given: Any) -> DesiredImage:
    return read_desired(disk(file={"path": str(path)}, **given), "disk", state="present")


def observed(desired: DesiredImage, monkeypatch: pytest.MonkeyPatch, *users: str) -> ObservedFile:
    monkeypatch.setattr(file, "vms_that_open", lambda *_: list(users))
    with open_bench() as bench:
        return file.observe(desired, bench)


@needs_qemu
@pytest.mark.parametrize("form", ["raw", "qcow2"])
def test_what_is_read_is_what_qemu_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    desired = declared(make_image(tmp_path / "image", form), format=form, size="1MiB")
    by_qemu = observed(desired, monkeypatch)
    monkeypatch.setattr(Workbench, "storage", lambda *_: pytest.fail("QEMU opens it"))
    assert observed(desired, monkeypatch, "web1") == replace(by_qemu, opened_by=("web1",))


@needs_qemu
@pytest.mark.parametrize("given", [{"size": "1MiB"}, {"provision": {"sha256": "0" * 64}}, {"format": "qcow2"}])
def test_qemu_opens_what_a_header_does_not_tell(tmp_path: Path, given: dict[str, Any]) -> None:
    path = make_image(tmp_path / "image", "raw")
    os.truncate(path, (1 << 20) - 1)
    assert observe_open_file(declared(path, **given), str(path)) is None
    assert observe_open_file(declared(tmp_path / "missing", size="1MiB"), str(tmp_path / "missing")) is None


@needs_qemu
def test_a_header_that_names_an_undeclared_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = make_image(tmp_path / "base", "qcow2")
    path = tmp_path / "image"
    command = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(base), "-F", "qcow2", str(path)]
    subprocess.run(command, check=True)
    for users in ((), ("web1",)):
        with pytest.raises(StorageError, match=r"it stands on .*/base, as its header says; flatten it"):
            observed(declared(path, format="qcow2", size="1MiB"), monkeypatch, *users)


def test_a_file_that_is_removed_meanwhile_is_left_to_qemu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "image"
    path.write_bytes(b"\0" * 512)

    def read_and_remove(*_: object) -> bytes:
        path.unlink()
        return b"\0" * 512

    monkeypatch.setattr(open_file, "read_shown", read_and_remove)
    assert observe_open_file(declared(path, size="1MiB"), str(path)) is None
