# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The program that grants units access to files and takes it back, with a setfacl that records what it is asked."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._process.run import text_of
from ansible_collections.directdisk.qemu.plugins.module_utils._programs import file_access

UNIT, USER, UID = "qemu-vm-web1.service", "vm-web1", 61200


class Host:
    """The access lists of a few files, as the program leaves them."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.lists: dict[str, set[str]] = {}
        self.fails = False
        self.uid = UID
        monkeypatch.setattr(file_access, "LISTS", f"{folder}/lists")
        monkeypatch.setattr(file_access.subprocess, "run", self._setfacl)
        monkeypatch.setattr(pwd, "getpwnam", lambda name: SimpleNamespace(pw_uid=self.uid))

    def file(self, name: str) -> str:
        path = self.folder / name
        path.touch()
        return str(path)

    def _setfacl(self, command: list[str], **_options: Any) -> SimpleNamespace:
        _program, operation, entry, _end, *paths = command
        for path in () if self.fails else map(os.path.realpath, paths):
            entries = self.lists.setdefault(path, set())
            if operation == "--modify":
                entries.add(entry)
            else:
                entries.difference_update({one for one in entries if one.startswith(f"{entry}:")})
        return SimpleNamespace(
            returncode=int(self.fails), stderr=f"setfacl: {paths[-1]}: wrong\n" if self.fails else ""
        )

    def granted(self) -> dict[str, set[str]]:
        return {path: entries for path, entries in self.lists.items() if entries}


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(tmp_path, monkeypatch)


def test_access_is_granted_and_taken_back(host: Host) -> None:
    a, b = host.file("a"), host.file("b")
    assert file_access.grant(UNIT, USER, ["rw", a, "r", b]) == 0
    assert host.granted() == {a: {f"user:{UID}:rw"}, b: {f"user:{UID}:r"}}
    assert file_access.revoke(UNIT) == 0
    assert host.granted() == {}
    assert not (host.folder / "lists" / UNIT).exists()


def test_access_to_some_files_is_taken_back_while_the_unit_runs(host: Host) -> None:
    a, b = host.file("a"), host.file("b")
    file_access.grant(UNIT, USER, ["rw", a, b])
    file_access.revoke_paths(UNIT, {b})
    assert host.granted() == {a: {f"user:{UID}:rw"}}
    assert file_access.read_list(UNIT) == {(UID, a)}
    file_access.revoke_paths("qemu-vm-web2.service", {a})
    assert host.granted() == {a: {f"user:{UID}:rw"}}


def test_a_unit_that_was_replaced_while_it_ran_leaves_nothing(host: Host) -> None:
    a = host.file("a")
    file_access.grant(UNIT, USER, ["rw", a])
    file_access.revoke(UNIT)  # the new unit knows no more of a file than its own name
    assert host.granted() == {}


def test_a_start_takes_back_what_a_crash_has_left(host: Host) -> None:
    a, b = host.file("a"), host.file("b")
    file_access.grant(UNIT, USER, ["rw", a, "rw", b])
    host.uid = UID + 1
    file_access.grant(UNIT, USER, ["rw", b])
    assert host.granted() == {b: {f"user:{UID + 1}:rw"}}


def test_a_unit_starts_while_the_list_of_another_is_written(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = host.file("a"), host.file("b")
    dump = file_access.json.dump
    started: list[int] = []

    def start_another_first(listed: Any, stream: Any) -> None:
        if not started:
            started.append(-1)
            started[0] = file_access.grant("qemu-vm-web2.service", "vm-web2", ["rw", b])
        dump(listed, stream)

    monkeypatch.setattr(file_access.json, "dump", start_another_first)
    assert (file_access.grant(UNIT, USER, ["rw", a]), started) == (0, [0])
    assert host.granted().keys() == {a, b}


def test_a_list_that_was_not_finished_is_passed_over(host: Host) -> None:
    a = host.file("a")
    file_access.grant("qemu-vm-web2.service", "vm-web2", ["r", a])
    (host.folder / "lists" / f".{UNIT}").touch()
    assert file_access.revoke("qemu-vm-web2.service") == 0
    assert file_access.grant(UNIT, USER, ["rw", a]) == 0
    assert host.granted() == {a: {f"user:{UID}:rw"}}


def test_the_list_is_there_before_access_is(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """So a crash between the two leaves nothing that nobody knows of."""
    a = host.file("a")

    def killed(command: list[str], **_options: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(file_access.subprocess, "run", killed)
    with pytest.raises(KeyboardInterrupt):
        file_access.grant(UNIT, USER, ["rw", a])
    assert file_access.read_list(UNIT) == {(UID, a)}


def test_another_unit_with_the_same_number_keeps_its_access(host: Host) -> None:
    a = host.file("a")
    file_access.grant(UNIT, USER, ["r", a])
    file_access.grant("qemu-vm-web2.service", "vm-web2", ["r", a])
    file_access.revoke(UNIT)
    assert host.granted() == {a: {f"user:{UID}:r"}}


def test_what_cannot_be_taken_back_is_not_forgotten(host: Host) -> None:
    a, gone = host.file("a"), host.file("gone")
    file_access.grant(UNIT, USER, ["r", a, "r", gone])
    (host.folder / "gone").unlink()
    host.fails = True
    file_access.revoke(UNIT)
    assert file_access.read_list(UNIT) == {(UID, a)}
    host.fails = False
    file_access.revoke(UNIT)
    assert file_access.read_list(UNIT) == set()


def test_access_that_is_refused_fails_the_start(host: Host) -> None:
    host.fails = True
    assert file_access.grant(UNIT, USER, ["r", host.file("a")]) == 1


def test_a_unit_without_grants_needs_no_list(host: Host) -> None:
    assert file_access.revoke(UNIT) == 0
    assert not (host.folder / "lists").exists()


def test_a_helper_that_lost_its_unit_ends_after_its_vm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = (
        "qemu-vm-web1.root.nbdkit.service not-found active running x\n"
        "qemu-vm-web1.data.nbdkit.service not-found inactive dead x\n"
    )
    called: list[list[str]] = []

    def run(command: list[str], **_options: object) -> SimpleNamespace:
        called.append(command)
        return SimpleNamespace(stdout=listed if "list-units" in command else "", returncode=0)

    monkeypatch.setattr(file_access.subprocess, "run", run)
    monkeypatch.setattr(file_access, "RUN", str(tmp_path))
    for part in ("root", "data"):
        (tmp_path / f"qemu-vm-web1.{part}").mkdir()
    file_access.end_orphans(UNIT)
    assert called[0][-2:] == ["--state=not-found", "qemu-vm-web1.*.service"]
    assert called[1:] == [["systemctl", "stop", "--", "qemu-vm-web1.root.nbdkit.service"]]
    assert [path.name for path in tmp_path.iterdir()] == ["qemu-vm-web1.data"]


def test_helpers_without_a_unit_end_with_their_vm(tmp_path: Path) -> None:
    called = tmp_path / "called"
    (tmp_path / "systemctl").write_text(
        f'#!/bin/sh\necho "$@" >>{called}\n'
        '[ "$1" != list-units ] || echo "qemu-vm-unittest0.old.nbdkit.service not-found active running"\n'
    )
    (tmp_path / "systemctl").chmod(0o755)
    (tmp_path / "program").write_text(text_of(file_access))
    subprocess.run(
        [sys.executable, "-IS", str(tmp_path / "program"), "revoke", "qemu-vm-unittest0.service"],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        check=True,
    )
    assert called.read_text().splitlines()[1:] == ["stop -- qemu-vm-unittest0.old.nbdkit.service"]


def test_a_link_in_a_folder_of_others_gives_access_to_nothing(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    secret, tenant = host.file("secret"), host.folder / "tenant"
    (host.folder / "link").symlink_to(secret)
    assert file_access.grant(UNIT, USER, ["r", str(host.folder / "link")]) == 0
    tenant.mkdir(mode=0o777)
    tenant.chmod(0o777)
    (tenant / "disk").symlink_to(secret)
    assert file_access.grant(UNIT, USER, ["rw", str(tenant / "disk")]) == 1
    assert host.granted() == {}
    assert f"{tenant}/disk: it is a symbolic link, and its folder is not root's" in capsys.readouterr().err


def test_an_error_names_the_file(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    host.fails = True
    a = host.file("a")
    assert file_access.grant(UNIT, USER, ["rw", a]) == 1
    assert capsys.readouterr().err == f"setfacl: {a}: wrong\n"
