# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images of VMware, VirtualBox and Hyper-V are copied, and nothing that they name is opened."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError, HostError
from ansible_collections.directdisk.qemu.tests.unit.real_parts import MIB, disk, make_image, needs_qemu, open_bench

pytestmark = needs_qemu


def copied(folder: Path, source: Path, form: str) -> Disk:
    target = {"path": str(folder / "target.raw")}
    return disk(file=target, source={"file": {"path": str(source)}, "format": form})


def write(path: Path, form: str, data: str = "0x5a") -> None:
    subprocess.run(["qemu-io", "-f", form, "-c", f"write -P {data} 1M 64k", path], check=True, capture_output=True)


@pytest.mark.parametrize(
    ("form", "options"),
    [("vmdk", {}), ("vdi", {}), ("vhdx", {}), ("vpc", {}), ("vpc", {"subformat": "fixed", "force_size": "on"})],
)
def test_a_source_of_another_format_is_copied(tmp_path: Path, form: str, options: dict[str, str]) -> None:
    path = make_image(tmp_path / f"a.{form}", form, 3 * MIB, **options)
    write(path, form)
    target = tmp_path / "target.raw"
    with open_bench() as bench:
        desired = copied(tmp_path, path, form)
        assert desired.origin is not None
        size = bench.size_of_source(desired.origin)
        target.write_bytes(bytes(size))
        bench.copy(desired.origin, desired, blank=False)
    assert size >= 3 * MIB
    assert target.read_bytes()[MIB : MIB + 65536] == b"\x5a" * 65536


@pytest.mark.parametrize("subformat", ["monolithicFlat", "twoGbMaxExtentSparse"])
def test_a_vmdk_that_names_other_files_is_refused(tmp_path: Path, subformat: str) -> None:
    path = make_image(tmp_path / "a.vmdk", "vmdk", subformat=subformat)
    desired = copied(tmp_path, path, "vmdk")
    assert desired.origin is not None
    with open_bench() as bench, pytest.raises(HostError, match="it is a VMDK that names other files for its data"):
        bench.size_of_source(desired.origin)


def test_a_vmdk_with_a_backing_file_shows_nothing_of_it(tmp_path: Path) -> None:
    base = make_image(tmp_path / "base.vmdk", "vmdk", 3 * MIB)
    write(base, "vmdk")
    path = make_image(tmp_path / "a.vmdk", "vmdk", backing_file=str(base), backing_fmt="vmdk")
    desired = copied(tmp_path, path, "vmdk")
    (tmp_path / "target.raw").write_bytes(bytes(3 * MIB))
    assert desired.origin is not None
    with open_bench() as bench:
        bench.copy(desired.origin, desired, blank=False)
    assert (tmp_path / "target.raw").read_bytes() == bytes(3 * MIB)


@pytest.mark.parametrize("form", ["vmdk", "vdi", "vhdx"])
def test_a_source_that_is_not_of_its_format_is_refused(tmp_path: Path, form: str) -> None:
    path = make_image(tmp_path / "a.qcow2")
    desired = copied(tmp_path, path, form)
    assert desired.origin is not None
    with open_bench() as bench, pytest.raises(HostError, match=f"it is a qcow2 image, and {form} is declared"):
        bench.size_of_source(desired.origin)


def test_the_formats_are_for_sources_alone() -> None:
    place: dict[str, Any] = {"path": "/srv/a"}
    with pytest.raises(DeclarationError, match="format: 'vmdk' is not one of raw, qcow2"):
        disk(file=place, format="vmdk")
    with pytest.raises(DeclarationError, match="luks: is for raw and qcow2, not for vdi"):
        disk(file=place, source={"file": {"path": "/b"}, "format": "vdi", "luks": {"passphrase": "x"}})
