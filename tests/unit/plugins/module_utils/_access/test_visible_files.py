# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The first bytes of files whose folders may belong to others."""

from __future__ import annotations

import os
from pathlib import Path

from ansible_collections.directdisk.qemu.plugins.module_utils._access.visible_files import read_shown


def test_the_first_bytes_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(b"QFI\xfb rest")
    assert read_shown(str(tmp_path / "image"), 4) == b"QFI\xfb"
    assert read_shown(str(tmp_path / "missing"), 4) is None


def test_what_is_no_regular_file_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert read_shown(str(tmp_path / "pipe"), 4) is None
    assert read_shown(str(tmp_path), 4) is None
    assert read_shown("/dev/zero", 4) is None


def test_a_link_in_a_folder_that_others_write_to_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(b"bytes")
    (tmp_path / "link").symlink_to(tmp_path / "image")
    tmp_path.chmod(0o777)
    assert read_shown(str(tmp_path / "link"), 5) is None
    assert read_shown(str(tmp_path / "image"), 5) == b"bytes"
