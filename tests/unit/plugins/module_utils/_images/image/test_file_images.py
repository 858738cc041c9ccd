# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images that are files, made and changed by a real QEMU; and on an SSH server by a real sftp-server."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._access import ssh_agent as _ssh_agent
from ansible_collections.directdisk.qemu.plugins.module_utils._access.workspace import Workspace
from ansible_collections.directdisk.qemu.plugins.module_utils._clients import sftp
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import (
    AlreadyExistsError,
    DirectDiskError,
    HostError,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._host import host_mark as _host_mark
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.image.changes import CreateImage
from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.kinds import read_desired as _read_desired
from ansible_collections.directdisk.qemu.plugins.module_utils._images.image import file
from ansible_collections.directdisk.qemu.plugins.module_utils._images.image.lifecycle import LIFECYCLE
from ansible_collections.directdisk.qemu.plugins.module_utils._images.reconcile import reconcile as _reconcile
from ansible_collections.directdisk.qemu.plugins.module_utils._images.stores.registry import STORES
from ansible_collections.directdisk.qemu.plugins.module_utils._process import locks as _locks
from ansible_collections.directdisk.qemu.tests.unit.real_parts import (
    MIB,
    SFTP_SERVER,
    disk,
    make_image,
    needs_qemu,
    needs_sftp_server,
    open_bench,
)
from ansible_collections.directdisk.qemu.tests.unit.real_vm import needs_emulator, running_vm
from ansible_collections.directdisk.qemu.tests.unit.support import SSH


@pytest.fixture(autouse=True)
def host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(_locks, "DISKS_LOCK", str(tmp_path / "lock"))
    monkeypatch.setattr(_host_mark, "_MACHINE_ID", "/dev/null")
    monkeypatch.setattr(file, "vms_that_open", lambda *_: [])


def manage(path: Path, state: str = "present", **declared: Any) -> dict[str, Any]:
    desired = _read_desired(disk(file={"path": str(path)}, **declared), "disk", state=state)
    with open_bench() as bench:
        return _reconcile(LIFECYCLE, desired, bench, check_mode=False)


@needs_qemu
def test_a_qcow2_begins_as_its_source_and_grows(tmp_path: Path) -> None:
    origin = tmp_path / "origin"
    origin.write_bytes(b"golden".ljust(MIB, b"."))
    source = {"source": {"file": {"path": str(origin)}}}
    path = tmp_path / "image"
    made = manage(path, format="qcow2", size="2MiB", provision={"check": True}, **source)
    assert (made["changed"], made["size"], made["after"]["errors"]) == (True, 2 * MIB, 0)
    assert manage(path, format="qcow2", size="3MiB", **source)["size"] == 3 * MIB
    declared = disk(file={"path": str(path)}, format="qcow2")
    with open_bench() as bench, bench.image(declared) as image, image.accessed() as client:
        assert client.read(0, MIB) == origin.read_bytes()
        assert client.read(MIB, 2 * MIB).strip(b"\0") == b""
    assert manage(path, "absent", format="qcow2")["state"] == "absent"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["lock", "origin"]


@needs_qemu
def test_a_qcow2_is_not_taken_for_a_raw_image(tmp_path: Path) -> None:
    path = make_image(tmp_path / "image")
    before = path.read_bytes()
    with pytest.raises(DirectDiskError, match="it is a qcow2 image, and raw is declared"):
        manage(path, size="4MiB")
    assert path.read_bytes() == before


def test_a_file_that_appeared_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    made, place = tmp_path / "made", tmp_path / "place"
    made.write_text("made")
    place.write_text("of another run")
    with (
        STORES["file"].files(disk(file={"path": str(place)}), cast(Workspace, None)) as files,
        pytest.raises(AlreadyExistsError),
    ):
        files.put(str(made), str(place), overwrite=False)
    assert place.read_text() == "of another run"


@needs_qemu
def test_an_image_of_another_format_is_overwritten_only_where_that_is_said(tmp_path: Path) -> None:
    path = make_image(tmp_path / "image", "raw")
    with pytest.raises(DirectDiskError, match="it was not changed: correct the declaration, or set overwrite: true"):
        manage(path, format="qcow2", size="1MiB", provision={"overwrite": False})
    assert path.read_bytes() == bytes(MIB)
    manage(path, format="qcow2", size="1MiB", provision={"overwrite": True})
    assert path.read_bytes().startswith(b"QFI\xfb")


@needs_qemu
@needs_emulator
def test_an_image_of_a_vm_that_no_unit_tells_of_stays_as_it_is(tmp_path: Path) -> None:
    path = make_image(tmp_path / "image", "raw")
    drive = ("-drive", f"if=none,id=a,format=raw,file={path}", "-device", "virtio-blk-pci,drive=a")
    with running_vm(tmp_path / "qmp", *drive):
        stays_as_it_is(path)


@needs_qemu
def test_an_image_that_somebody_exports_stays_as_it_is(tmp_path: Path) -> None:
    """An export shares its file with others that write, as a VM's device does not."""
    path, socket = make_image(tmp_path / "image", "raw"), tmp_path / "socket"
    with subprocess.Popen(["qemu-nbd", "--persistent", "--format=raw", f"--socket={socket}", path]) as export:
        while not socket.exists() and export.poll() is None:
            time.sleep(0.01)
        try:
            stays_as_it_is(path)
        finally:
            export.terminate()


def stays_as_it_is(path: Path) -> None:
    """Try all that changes an image of zeroes."""
    other = {"format": "qcow2", "size": "1MiB", "provision": {"overwrite": True}}
    for state, declared in (("present", {"size": "2MiB"}), ("present", other), ("absent", {})):
        with pytest.raises(DirectDiskError, match="another process has it open"):
            manage(path, state, **declared)
    assert path.read_bytes() == bytes(MIB)


@needs_qemu
def test_an_image_that_is_not_what_its_digest_says_is_not_kept(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="nothing was kept"):
        manage(tmp_path / "image", size="1MiB", provision={"sha256": "0" * 64})
    digest = hashlib.sha256(bytes(MIB)).hexdigest()
    assert manage(tmp_path / "image", size="1MiB", provision={"sha256": digest})["after"]["sha256"] == digest
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["image", "lock"]


@pytest.fixture
def ssh(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands with which ssh was called; a local sftp-server answers."""
    commands: list[list[str]] = []
    key = base64.b64encode(b"the server's key").decode()
    session = sftp.session

    @contextlib.contextmanager
    def local(command: Sequence[str], environment: Mapping[str, str], *, seconds: float) -> Iterator[sftp.Sftp]:
        commands.append(list(command))
        shown = next((word.partition("=")[2] for word in command if word.startswith("-oUserKnownHostsFile=")), "")
        if shown.endswith("shown_host_keys"):
            Path(shown).write_text(f"192.0.2.8 ssh-ed25519 {key}\n", encoding="utf-8")
        with session([SFTP_SERVER], environment, seconds=seconds) as files:
            yield files

    @contextlib.contextmanager
    def agent(*_arguments: object) -> Iterator[str]:
        yield "/agent"

    monkeypatch.setattr(sftp, "session", local)
    monkeypatch.setattr(_ssh_agent, "agent", agent)
    return commands


def by_hash(key: bytes) -> dict[str, str]:
    return {"mode": "hash", "type": "sha256", "hash": hashlib.sha256(key).hexdigest()}


@needs_qemu
@needs_sftp_server
def test_a_server_with_another_key_is_refused_before_anything_is_done(ssh: list[list[str]], tmp_path: Path) -> None:
    path = tmp_path / "image"
    declared = {**SSH, "path": str(path)}
    with open_bench() as bench:
        other = disk(ssh={**declared, "host_key_check": by_hash(b"another key")})
        with (
            pytest.raises(HostError, match="the server's key does not match host_key_check"),
            STORES["ssh"].files(other, bench) as files,
        ):
            files.make(str(path))
        assert not path.exists()
        same = disk(ssh={**declared, "host_key_check": by_hash(b"the server's key")})
        with STORES["ssh"].files(same, bench) as files:
            files.make(str(path))
        assert path.exists()
    assert all("-oBatchMode=yes" in command and "-oIdentityFile=none" in command for command in ssh)


@needs_qemu
@needs_sftp_server
def test_a_server_is_known_by_known_hosts_alone_where_that_is_declared(ssh: list[list[str]], tmp_path: Path) -> None:
    declared = disk(ssh={**SSH, "path": str(tmp_path / "image")})
    with open_bench() as bench, STORES["ssh"].files(declared, bench) as files:
        assert files.kind(str(tmp_path / "image")) == "missing"
    assert "-oStrictHostKeyChecking=yes" in ssh[0]


@needs_qemu
@needs_sftp_server
def test_a_real_server_tells_missing_files_by_code_and_its_free_space(ssh: list[list[str]], tmp_path: Path) -> None:
    path = tmp_path / "image"
    with open_bench() as bench, STORES["ssh"].files(disk(ssh={**SSH, "path": str(path)}), bench) as files:
        assert files.kind(str(path)) == "missing"
        with pytest.raises(HostError, match=r"\(sftp error code: 2\)$"):
            files.make(str(tmp_path / "nothing" / "image"))
        space = os.statvfs(tmp_path)
        free = cast(sftp.Sftp, files).free(str(path))
        assert free is not None
        assert abs(free - space.f_bavail * space.f_frsize) < 1 << 30
        assert cast(sftp.Sftp, files).free(str(tmp_path / "nothing" / "image")) is None


@needs_qemu
@needs_sftp_server
@pytest.mark.parametrize(("free", "words"), [(0, "No space left on the server: "), (1 << 20, ""), (None, "")])
def test_a_full_server_is_named(
    ssh: list[list[str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, free: int | None, words: str
) -> None:
    def fails(*_: Any) -> None:
        raise HostError("Input/output error")

    path = tmp_path / "image"
    monkeypatch.setattr(file, "_build", fails)
    monkeypatch.setattr(sftp.Sftp, "free", lambda _self, _path: free)
    desired = _read_desired(disk(ssh={**SSH, "path": str(path)}, size="1MiB"), "disk", state="present")
    with open_bench() as bench, pytest.raises(HostError) as raised:
        file.create(desired, CreateImage(MIB), bench)
    assert f"{words}Input/output error" in str(raised.value)
    assert ("the server's disk is full" in str(raised.value)) == bool(words)
    assert list(tmp_path.iterdir()) == []


def test_an_image_is_not_made_by_a_route_that_only_opens_it() -> None:
    image = disk(ssh=SSH, format="qcow2")
    with pytest.raises(
        HostError, match="by route nbdkit this host only opens images; create it from a host whose QEMU"
    ):
        file._need_driver(image, "nbdkit")
    file._need_driver(image, "driver")


def test_that_a_file_is_missing_is_known_from_nbdkit_too() -> None:
    message = "nbdkit: ssh[1]: error: cannot open file for reading: SFTP server: No such file"
    assert file._MISSING.search(message)
