# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The key that an SSH server has shown is read from a folder in which a process that the server took over may write."""

from __future__ import annotations

import base64
import hashlib
import os
from pathlib import Path

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError
from ansible_collections.directdisk.qemu.plugins.module_utils._images.stores import ssh

KEY = b"a key"
LINE = f"server ssh-ed25519 {base64.b64encode(KEY).decode()}\n"
CHECK = {"mode": "hash", "type": "sha256", "hash": hashlib.sha256(KEY).hexdigest()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder to which others may write."""
    path = tmp_path / "w"
    path.mkdir()
    path.chmod(0o777)
    return path


def test_the_key_is_compared_with_the_declared_fingerprint(folder: Path) -> None:
    (folder / "keys").write_text(f"# of ssh\n{LINE}")
    ssh._refuse_other_key(CHECK, str(folder / "keys"))
    with pytest.raises(HostError, match="the server's key does not match host_key_check"):
        ssh._refuse_other_key({**CHECK, "hash": "0" * 64}, str(folder / "keys"))


def test_no_link_is_followed_to_it_and_no_pipe_is_waited_for(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(LINE)
    (folder / "link").symlink_to(tmp_path / "keys")
    os.mkfifo(folder / "pipe")
    for name, problem in (("link", "it is a symbolic link"), ("pipe", "it is not a regular file")):
        with pytest.raises(HostError, match=f"ssh has left no key of the server: .*{problem}"):
            ssh._refuse_other_key(CHECK, str(folder / name))


@pytest.mark.parametrize("text", ["server\n", "server ssh-rsa A\n", "\udcff"], ids=ascii)
def test_what_is_no_list_of_keys_is_an_error_of_the_disk(folder: Path, text: str) -> None:
    (folder / "keys").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(HostError, match="ssh has left no key of the server"):
        ssh._refuse_other_key(CHECK, str(folder / "keys"))
