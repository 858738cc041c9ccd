# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The program between QEMU and its ssh-agent, and the one that opens a socket to its group."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.directdisk.qemu.tests.unit.support import UNIT_TESTS

FILES = UNIT_TESTS.parents[1] / "roles" / "qemu_vms" / "files"


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[tuple[str, str]]:
    """Where QEMU finds the agent, and where it listens itself; it holds one key."""
    path, own = f"{tmp_path}/agent", f"{tmp_path}/own"
    command = [sys.executable, "-IS", str(FILES / "qemu-vm-agent.py"), path, own]
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    with subprocess.Popen(command, start_new_session=True) as process:
        try:
            # The socket is there before the agent listens.
            while ssh_add(own, "-q", str(key)):
                assert process.poll() is None
                time.sleep(0.05)
            yield path, own
        finally:
            os.killpg(process.pid, 15)


def ssh_add(path: str, *arguments: str) -> int:
    environment = {**os.environ, "SSH_AUTH_SOCK": path}
    command = ["ssh-add", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, timeout=10, check=False).returncode


def test_qemu_may_list_keys_and_sign(agent: tuple[str, str], tmp_path: Path) -> None:
    path, _own = agent
    assert ssh_add(path, "-l") == 0
    assert ssh_add(path, "-T", f"{tmp_path}/key.pub") == 0  # signs, and verifies the signature
    assert os.stat(path).st_mode & 0o777 == 0o660


def test_qemu_may_not_change_the_keys(agent: tuple[str, str], tmp_path: Path) -> None:
    path, own = agent
    assert ssh_add(path, "-D") != 0
    assert ssh_add(path, "-d", f"{tmp_path}/key.pub") != 0
    assert ssh_add(path, f"{tmp_path}/key") != 0
    assert ssh_add(path, "-x") != 0
    assert ssh_add(own, "-l") == 0


@pytest.mark.parametrize("sent", [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\0\4\0\1"])
def test_a_message_of_an_impossible_length_ends_the_connection(agent: tuple[str, str], sent: bytes) -> None:
    path, _own = agent
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(5)
        peer.connect(path)
        peer.sendall(sent)
        assert peer.recv(1) == b""
    assert ssh_add(path, "-l") == 0


def test_it_ends_with_the_agent(tmp_path: Path) -> None:
    command = [sys.executable, "-IS", str(FILES / "qemu-vm-agent.py"), f"{tmp_path}/agent", f"{tmp_path}/no/folder"]
    assert subprocess.run(command, capture_output=True, timeout=10, check=False).returncode == 1


def share(tmp_path: Path, *command: str) -> int:
    words = [sys.executable, "-IS", str(FILES / "qemu-vm-share.py"), f"{tmp_path}/s", *command]
    return subprocess.run(words, timeout=10, check=False).returncode


def test_a_socket_is_opened_to_its_group_alone(tmp_path: Path) -> None:
    listen = "import os, socket, sys; os.umask(0o022); socket.socket(socket.AF_UNIX).bind(sys.argv[1])"
    assert share(tmp_path, sys.executable, "-c", listen, f"{tmp_path}/s") == 0
    assert (tmp_path / "s").stat().st_mode & 0o777 == 0o660


def test_what_does_not_start_fails_the_unit(tmp_path: Path) -> None:
    assert share(tmp_path, sys.executable, "-c", "import sys; sys.exit(3)") == 3
