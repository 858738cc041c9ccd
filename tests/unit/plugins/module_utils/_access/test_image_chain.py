# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real images whose headers name other files are refused before QEMU opens them."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError
from ansible_collections.directdisk.qemu.tests.unit.real_parts import MIB, disk, make_image, needs_qemu, open_bench

pytestmark = needs_qemu
OTHER = {"file": "/srv/other.qcow2", "format": "qcow2"}


def test_an_image_with_an_external_data_file_is_refused(tmp_path: Path) -> None:
    path = make_image(tmp_path / "a.qcow2", data_file=str(tmp_path / "data.raw"))
    with open_bench() as bench, pytest.raises(HostError, match="its data is in another file, as its header says"):
        bench.size_of(disk(file={"path": str(path)}, format="qcow2"))


@pytest.mark.parametrize("provision", [{}, {"backing": OTHER}])
def test_an_image_with_a_foreign_backing_file_is_refused(tmp_path: Path, provision: dict[str, object]) -> None:
    base = make_image(tmp_path / "base.qcow2")
    path = make_image(tmp_path / "a.qcow2", backing_file=str(base), backing_fmt="qcow2")
    with open_bench() as bench, pytest.raises(HostError, match=f"it stands on {base}, as its header says; flatten it"):
        bench.size_of(disk(file={"path": str(path)}, format="qcow2", provision=provision))


def test_an_image_of_another_format_is_not_opened_as_a_qcow2(tmp_path: Path) -> None:
    path = make_image(tmp_path / "a.vmdk", "vmdk")
    with open_bench() as bench, pytest.raises(HostError, match="it is a VMDK image"):
        bench.size_of(disk(file={"path": str(path)}, format="qcow2"))


def test_an_image_that_names_no_other_file_is_opened(tmp_path: Path) -> None:
    path = make_image(tmp_path / "a.qcow2", size=3 * MIB)
    with open_bench() as bench:
        declared = disk(file={"path": str(path)}, format="qcow2")
        assert (bench.size_of(declared), bench.size_of_source(declared)) == (3 * MIB, 3 * MIB)
