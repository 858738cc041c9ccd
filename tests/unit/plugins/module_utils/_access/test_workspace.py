# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The folder of a run, which belongs to the confined processes: links that they put there are not followed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._access import visible_files
from ansible_collections.directdisk.qemu.plugins.module_utils._access.workspace import FolderResources
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import QmpError
from ansible_collections.directdisk.qemu.tests.unit.real_parts import needs_qemu


def test_a_folder_of_credentials_is_not_made_behind_a_link(tmp_path: Path) -> None:
    elsewhere, folder = tmp_path / "elsewhere", tmp_path / "w"
    elsewhere.mkdir()
    folder.mkdir()
    resources = FolderResources(str(folder), "disk1")
    (folder / "disk1.x509").symlink_to(elsewhere)
    with pytest.raises(FileExistsError):
        resources.directory("x509", {"ca-cert.pem": "/somewhere"})
    assert not list(elsewhere.iterdir())


def test_a_folder_of_credentials_names_them_as_a_library_does(tmp_path: Path) -> None:
    path = FolderResources(str(tmp_path), "disk1").directory("x509", {"ca-cert.pem": "/somewhere"})
    assert os.readlink(f"{path}/ca-cert.pem") == "/somewhere"


@needs_qemu
def test_a_folder_of_credentials_is_its_readers_whatever_the_umask(tmp_path: Path) -> None:
    os.chown(tmp_path, 12345, 12345)
    before = os.umask(0o077)
    try:
        path = FolderResources(str(tmp_path), "disk1").directory("x509", {"ca-cert.pem": "/somewhere"})
    finally:
        os.umask(before)
    status = os.stat(path)
    assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (12345, 12345, 0o700)


def test_a_link_in_the_place_of_a_credential_is_not_joined(tmp_path: Path) -> None:
    secret, folder = tmp_path / "secret", tmp_path / "w"
    secret.write_text("secret")
    folder.mkdir()
    resources = FolderResources(str(folder), "disk1")
    own = resources.credential("own", "text")
    assert Path(resources.joined("conf", own)).read_text() == "text\n"
    Path(own).unlink()
    Path(own).symlink_to(secret)
    with pytest.raises(OSError, match="Too many levels of symbolic links"):
        resources.joined("conf", own)


@needs_qemu
def test_a_link_is_shown_only_in_a_folder_of_root(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("file")
    os.close(visible_files._open_tree(str(tmp_path / "link")))
    os.chown(tmp_path, 12345, 12345)
    os.close(visible_files._open_tree(str(tmp_path / "file")))
    with pytest.raises(QmpError, match="it is a symbolic link, and its folder is not root's"):
        visible_files._open_tree(str(tmp_path / "link"))
