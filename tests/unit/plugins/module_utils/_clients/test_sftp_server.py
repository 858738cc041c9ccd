# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The SFTP client against OpenSSH's own server."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._clients import sftp
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import AlreadyExistsError, HostError
from ansible_collections.directdisk.qemu.tests.unit.real_parts import SFTP_SERVER, needs_sftp_server

pytestmark = needs_sftp_server


@pytest.fixture
def files() -> Iterator[sftp.Sftp]:
    with sftp.session([SFTP_SERVER], {}, seconds=30) as opened:
        yield opened


def test_a_path_is_of_one_kind(files: sftp.Sftp, tmp_path: Path) -> None:
    (tmp_path / "image").touch()
    assert [files.kind(str(tmp_path / name)) for name in ("image", "", "none")] == ["file", "directory", "missing"]
    assert files.kind("/dev/null") == "other"
    assert files.folder(str(tmp_path / "none")) == "directory"
    with pytest.raises(HostError, match=r"^SFTP server: "):
        files.kind(str(tmp_path / ("x" * 300)))


def test_a_file_is_made_once_and_for_its_owner_alone(files: sftp.Sftp, tmp_path: Path) -> None:
    path = tmp_path / "image"
    files.make(str(path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.write_bytes(b"data")
    with pytest.raises(AlreadyExistsError, match=f"{path} exists already"):
        files.make(str(path))
    assert path.read_bytes() == b"data"
    with pytest.raises(HostError, match="SFTP server: No such file"):
        files.make(str(tmp_path / "none" / "image"))


def test_a_rename_does_not_replace_what_appeared_meanwhile(files: sftp.Sftp, tmp_path: Path) -> None:
    mine, place = tmp_path / "mine", tmp_path / "place"
    mine.write_bytes(b"mine")
    place.write_bytes(b"another host's")
    with pytest.raises(AlreadyExistsError, match=f"{place} exists already"):
        files.put(str(mine), str(place), overwrite=False)
    assert (mine.read_bytes(), place.read_bytes()) == (b"mine", b"another host's")


def test_a_rename_gives_a_free_name_and_replaces_only_where_it_may(files: sftp.Sftp, tmp_path: Path) -> None:
    mine, place = tmp_path / "mine", tmp_path / "place"
    for data, overwrite in ((b"first", False), (b"second", True)):
        mine.write_bytes(data)
        files.put(str(mine), str(place), overwrite=overwrite)
        assert (mine.exists(), place.read_bytes()) == (False, data)
    for overwrite in (False, True):
        with pytest.raises(HostError, match="SFTP server: No such file"):
            files.put(str(mine), str(tmp_path / "free"), overwrite=overwrite)


def test_what_is_gone_need_not_be_removed(files: sftp.Sftp, tmp_path: Path) -> None:
    (tmp_path / "image").touch()
    for _time in range(2):
        files.remove(str(tmp_path / "image"))
    assert not (tmp_path / "image").exists()
    with pytest.raises(HostError, match="SFTP server: "):
        files.remove(str(tmp_path))
