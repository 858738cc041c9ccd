# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The first bytes of files whose folders may belong to others."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._access import visible_files
from ansible_collections.directdisk.qemu.plugins.module_utils._access.visible_files import VisibleFiles, read_shown
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import QmpError


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch) -> VisibleFiles:
    """Return the files of a process that answers as the test does; only root can open a file as a mount."""
    monkeypatch.setattr(visible_files, "_SECONDS", 0.05)
    monkeypatch.setattr(visible_files, "_open_tree", lambda path: os.open("/dev/null", os.O_RDONLY))
    return VisibleFiles()


def test_a_late_answer_is_not_taken_for_that_to_the_next_request(files: VisibleFiles) -> None:
    with pytest.raises(QmpError, match="Could not open '/srv/a': timed out"), files.shown(["/srv/a"]):
        pass
    files.theirs.send(b"ok")
    with pytest.raises(QmpError, match="'/srv/b': the storage daemon no longer takes files"), files.shown(["/srv/b"]):
        pass
    assert files.lost
    files.close()


def test_after_a_file_that_could_not_be_hidden_the_process_is_given_no_other(files: VisibleFiles) -> None:
    files.theirs.send(b"ok")
    files.theirs.send(b"umount: Device or resource busy")
    with files.shown(["/srv/a"]):
        assert not files.lost
    assert files.lost
    files.close()


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
