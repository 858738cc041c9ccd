# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Credentials at rest."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError
from ansible_collections.directdisk.qemu.plugins.module_utils._host import credential_store
from ansible_collections.directdisk.qemu.plugins.module_utils._host.credential_store import CredentialStore
from ansible_collections.directdisk.qemu.plugins.module_utils._units import paths


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    encrypted = tmp_path / "encrypted"
    monkeypatch.setattr(paths, "CREDENTIALS", str(tmp_path / "clear"))
    monkeypatch.setattr(paths, "ENCRYPTED_CREDENTIALS", str(encrypted))
    monkeypatch.setattr(credential_store, "_KEY", str(encrypted / "qemu-vms.digest-key"))
    monkeypatch.setattr(credential_store, "_DIGESTS", str(encrypted / "qemu-vms.digests"))
    return tmp_path


@pytest.fixture
def systemd_creds(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """A test double of systemd-creds that turns texts around; the calls that it saw."""
    calls: list[list[str]] = []

    def run(command: list[str], **options: Any) -> subprocess.CompletedProcess[bytes]:
        calls.append(command)
        if command[1] == "encrypt":
            return subprocess.CompletedProcess(command, 0, options["input"][::-1], b"")
        path = Path(command[3])
        if not path.exists():
            return subprocess.CompletedProcess(command, 1, b"", b"no such file")
        return subprocess.CompletedProcess(command, 0, path.read_bytes()[::-1], b"")

    monkeypatch.setattr(subprocess, "run", run)
    return calls


def current(store: CredentialStore, wanted: dict[str, str]) -> dict[str, bool]:
    return {path.rpartition("/")[2]: facts["current"] for path, facts in store.observe(wanted).items()}


@pytest.mark.parametrize("encrypted", [False, True], ids=["clear", "encrypted"])
def test_a_credential_is_current_until_its_text_changes(
    folder: Path, systemd_creds: list[list[str]], encrypted: bool
) -> None:
    store = CredentialStore(encrypted=encrypted)
    path = paths.credential_file("qemu-vm-web1", "root.password", encrypted=encrypted)
    assert store.observe({path: "one"}) == {}
    store.write({path: "one"})
    assert current(store, {path: "one"}) == {"qemu-vm-web1.root.password": True}
    assert current(store, {path: "two"}) == {"qemu-vm-web1.root.password": False}
    assert current(store, {}) == {"qemu-vm-web1.root.password": False}
    store.write({path: "two"})
    assert current(store, {path: "two"}) == {"qemu-vm-web1.root.password": True}
    assert Path(path).stat().st_mode & 0o777 == 0o600
    assert Path(path).parent.stat().st_mode & 0o777 == 0o700
    store.remove([path, path])
    assert store.observe({path: "two"}) == {}


@pytest.mark.parametrize("encrypted", [False, True], ids=["clear", "encrypted"])
def test_a_text_with_the_line_ends_of_windows_is_current(
    folder: Path, systemd_creds: list[list[str]], encrypted: bool
) -> None:
    store = CredentialStore(encrypted=encrypted)
    path = paths.credential_file("qemu-vm-web1", "root.key", encrypted=encrypted)
    store.write({path: "one\r\ntwo\r"})
    assert current(store, {path: "one\r\ntwo\r"}) == {"qemu-vm-web1.root.key": True}


def test_a_former_text_does_not_count_as_current_after_a_write_that_failed(
    folder: Path, systemd_creds: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = CredentialStore(encrypted=True)
    names = ["a", "b", "c"]
    a, b, c = (paths.credential_file("qemu-vm-web1", name, encrypted=True) for name in names)
    store.write({a: "old", b: "old", c: "same"})
    encrypt = credential_store._encrypt

    def fail(path: str, name: str, data: bytes) -> None:
        if path == b:
            raise HostError("No space left on device")
        encrypt(path, name, data)

    monkeypatch.setattr(credential_store, "_encrypt", fail)
    with pytest.raises(HostError, match="No space left"):
        store.write({a: "new", b: "new"})
    assert Path(a).read_bytes() == b"wen"
    observed = current(store, {a: "old", b: "old", c: "same"})
    assert observed == {"qemu-vm-web1.a": False, "qemu-vm-web1.b": False, "qemu-vm-web1.c": True}


def test_a_clear_credential_is_the_text_itself_and_needs_no_program(
    folder: Path, systemd_creds: list[list[str]]
) -> None:
    path = paths.credential_file("qemu-vm-web1", "root.password", encrypted=False)
    CredentialStore(encrypted=False).write({path: "a\nü"})
    assert Path(path).read_text(encoding="utf-8") == "a\nü"
    assert systemd_creds == []


def test_an_encrypted_text_stands_nowhere_in_the_clear(folder: Path, systemd_creds: list[list[str]]) -> None:
    path = paths.credential_file("qemu-vm-web1", "root.password", encrypted=True)
    CredentialStore(encrypted=True).write({path: "pass-of-web1"})
    assert all("pass-of-web1" not in file.read_text() for file in (folder / "encrypted").iterdir())
    assert all("pass-of-web1" not in word for call in systemd_creds for word in call)
    assert ["systemd-creds", "encrypt", "--name=root.password", "-", "-"] in systemd_creds


def test_a_look_decrypts_one_key_however_many_credentials_there_are(
    folder: Path, systemd_creds: list[list[str]]
) -> None:
    wanted = {paths.credential_file(f"qemu-vm-vm{n}", "root.password", encrypted=True): str(n) for n in range(20)}
    CredentialStore(encrypted=True).write(wanted)
    systemd_creds.clear()
    assert all(current(CredentialStore(encrypted=True), wanted).values())
    assert len(systemd_creds) == 1


@pytest.mark.parametrize("broken", ["", "{", '{"/x": "00"}'])
def test_lost_digests_make_credentials_be_written_again(
    folder: Path, systemd_creds: list[list[str]], broken: str
) -> None:
    path = paths.credential_file("qemu-vm-web1", "root.password", encrypted=True)
    CredentialStore(encrypted=True).write({path: "one"})
    (folder / "encrypted" / "qemu-vms.digests").write_text(broken)
    assert current(CredentialStore(encrypted=True), {path: "one"}) == {"qemu-vm-web1.root.password": False}


def test_a_lost_key_makes_credentials_be_written_again(folder: Path, systemd_creds: list[list[str]]) -> None:
    path = paths.credential_file("qemu-vm-web1", "root.password", encrypted=True)
    CredentialStore(encrypted=True).write({path: "one"})
    (folder / "encrypted" / "qemu-vms.digest-key").unlink()
    assert current(CredentialStore(encrypted=True), {path: "one"}) == {"qemu-vm-web1.root.password": False}


def test_files_of_others_are_left_alone(folder: Path) -> None:
    (folder / "clear").mkdir()
    (folder / "clear" / "other.password").write_text("x")
    (folder / "clear" / "qemu-vms.digests").write_text("x")
    assert CredentialStore(encrypted=False).observe({}) == {}


def test_what_systemd_creds_refuses_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = subprocess.CompletedProcess([], 1, b"", b"no host key\n")
    monkeypatch.setattr(subprocess, "run", lambda *_arguments, **_options: failed)
    path = paths.credential_file("qemu-vm-web1", "root.password", encrypted=True)
    with pytest.raises(HostError, match=r"^systemd-creds encrypt qemu-vms\.digest-key: no host key$"):
        CredentialStore(encrypted=True).write({path: "one"})
