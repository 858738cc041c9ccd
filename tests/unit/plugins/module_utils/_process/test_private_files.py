# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files with secrets."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._process.private_files import write_private


def test_a_private_file_is_new_and_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "key"
    assert write_private(str(path), "secret") == str(path)
    assert (path.read_text(encoding="utf-8"), path.stat().st_mode & 0o777) == ("secret", 0o600)
    with pytest.raises(FileExistsError):
        write_private(str(path), "other")


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "key").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileExistsError):
        write_private(str(tmp_path / "key"), "secret")
    assert not (tmp_path / "elsewhere").exists()
