# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The program that loads a VM's keys, with a real ssh-agent."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.directdisk.qemu.tests.unit.support import UNIT_TESTS

FILES = UNIT_TESTS.parents[1] / "roles" / "qemu_vms" / "files"


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[str]:
    path = str(tmp_path / "agent")
    with subprocess.Popen(["ssh-agent", "-D", "-a", path], stdout=subprocess.DEVNULL) as process:
        while not os.path.exists(path):
            time.sleep(0.01)
        yield path
        process.terminate()


@pytest.fixture
def credentials(tmp_path: Path) -> Path:
    folder = tmp_path / "credentials"
    folder.mkdir()
    return folder


def make_key(folder: Path, name: str, passphrase: str = "") -> str:
    """A new key among the credentials; returns its fingerprint."""
    path = folder / name
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-f", str(path)], check=True)
    public = path.with_name(f"{name}.pub")
    shown = subprocess.run(["ssh-keygen", "-l", "-f", str(public)], capture_output=True, text=True, check=True)
    public.unlink()
    if passphrase:
        (folder / f"{name}.passphrase").write_text(passphrase)
    return shown.stdout.split()[1]


def load(tmp_path: Path, agent: str) -> str:
    """The program's complaint; empty where it loaded the keys."""
    text = (FILES / "qemu-vm-keys.py").read_text(encoding="utf-8")
    program = tmp_path / "keys.py"
    # Installed, it finds its neighbour in the folder of programs.
    program.write_text(text.replace("/usr/local/libexec/", f"{FILES}/"), encoding="utf-8")
    environment = {**os.environ, "SSH_AUTH_SOCK": agent, "CREDENTIALS_DIRECTORY": str(tmp_path / "credentials")}
    command = [sys.executable, "-IS", str(program)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)
    assert bool(done.stderr) == (done.returncode != 0)
    return done.stderr


def held(agent: str) -> set[str]:
    environment = {**os.environ, "SSH_AUTH_SOCK": agent}
    shown = subprocess.run(["ssh-add", "-l"], env=environment, capture_output=True, text=True, check=False)
    return {line.split()[1] for line in shown.stdout.splitlines() if "SHA256" in line}


def test_the_agent_holds_the_declared_keys(tmp_path: Path, credentials: Path, agent: str) -> None:
    keys = {make_key(credentials, "ssh.root.key"), make_key(credentials, "ssh.data.key", "open sesame")}
    assert load(tmp_path, agent) == ""
    assert held(agent) == keys


def test_a_key_that_is_gone_leaves_the_agent(tmp_path: Path, credentials: Path, agent: str) -> None:
    make_key(credentials, "ssh.root.key")
    load(tmp_path, agent)
    (credentials / "ssh.root.key").unlink()
    kept = make_key(credentials, "ssh.data.key")
    assert load(tmp_path, agent) == ""
    assert held(agent) == {kept}


@pytest.mark.parametrize(("given", "words"), [("wrong", "incorrect passphrase"), (None, "incorrect passphrase")])
def test_a_wrong_passphrase_is_said_and_nothing_is_asked(
    tmp_path: Path, credentials: Path, agent: str, given: str | None, words: str
) -> None:
    make_key(credentials, "ssh.root.key", "open sesame")
    passphrase = credentials / "ssh.root.key.passphrase"
    passphrase.write_text(given) if given else passphrase.unlink()
    said = load(tmp_path, agent)
    assert words in said
    assert said.count("\n") == 1
    assert "ssh.root.key" in said
    assert "open sesame" not in said


def test_what_is_no_key_is_said(tmp_path: Path, credentials: Path, agent: str) -> None:
    (credentials / "ssh.root.key").write_text("no key\n")
    assert "ssh.root.key" in load(tmp_path, agent)
