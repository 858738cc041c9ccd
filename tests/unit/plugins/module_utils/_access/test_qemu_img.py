# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""qemu-img reads what storage daemons give it, so it gets nothing of the host."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._access.qemu_img import output_of_qemu_img
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError
from ansible_collections.directdisk.qemu.tests.unit.real_parts import make_image, needs_qemu, open_bench

pytestmark = needs_qemu


def test_it_reads_no_file_of_the_host(tmp_path: Path) -> None:
    secret = make_image(tmp_path / "secret")
    with open_bench() as bench:
        (Path(bench.folder) / "link").symlink_to(secret)
        for path in (secret, Path(bench.folder) / "link"):
            with pytest.raises(HostError, match="No such file or directory"):
                output_of_qemu_img(bench, "info", str(path))


def test_it_reads_the_folder_of_the_run() -> None:
    with open_bench() as bench:
        bench.file("text", "x" * 512)
        assert "raw" in output_of_qemu_img(bench, "info", f"{bench.folder}/text")
