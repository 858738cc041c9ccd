# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The program of qemu-vms-resume.service, in folders into which a VM may have put anything."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._process.run import text_of
from ansible_collections.directdisk.qemu.plugins.module_utils._programs import vms_resume
from ansible_collections.directdisk.qemu.tests.unit.fake_qmp import FakeQemu, FloodingMonitor

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="gives files to other users")
OTHER = 12345


def resume(folder: Path) -> str:
    command = [sys.executable, "-IS", "-c", text_of(vms_resume), str(folder), str(folder / "log")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def folder_of(place: Path, vm: str) -> Path:
    folder = place / f"qemu-vm-{vm}"
    folder.mkdir(parents=True)
    folder.chmod(0o777)  # as if it were not root's alone
    return folder


@pytest.mark.parametrize(
    ("status", "heard"),
    [
        ("io-error", ["qmp_capabilities", "query-status", "cont"]),
        ("running", ["qmp_capabilities", "query-status"]),
        # Somebody paused it on purpose.
        ("paused", ["qmp_capabilities", "query-status"]),
    ],
)
def test_a_vm_goes_on_only_where_an_error_has_paused_it(tmp_path: Path, status: str, heard: list[str]) -> None:
    path = folder_of(tmp_path, "web1") / "qmp.sock"
    with FakeQemu(path, answers={"query-status": {"status": status}}, thinks=0.1) as qemu:
        said = resume(tmp_path)
    assert qemu.heard == heard
    assert bool(said) == ("cont" in heard)


@pytest.mark.parametrize("piece", [b"A" * 65536, b"{}\n", b"\xff\xfe\n", b"[1]\n", b"[" * 200000 + b"\n", b"9" * 60000])
def test_a_monitor_that_is_not_qemus_keeps_no_other_vm_waiting(
    tmp_path: Path, piece: bytes, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(vms_resume, "SECONDS", 0.5)
    hostile, good = folder_of(tmp_path, "a") / "qmp.sock", folder_of(tmp_path, "b") / "qmp.sock"
    start = time.monotonic()
    with FloodingMonitor(hostile, piece), FakeQemu(good, answers={"query-status": {"status": "io-error"}}):
        vms_resume.main(str(tmp_path), "")
    assert capsys.readouterr().out == f"{good}: paused by an I/O error, goes on\n"
    assert time.monotonic() - start < 30


@pytest.mark.parametrize("answer", [["x"], {"status": ["io-error"]}, "io-error", 5, None])
def test_answers_of_other_kinds_are_passed_over(tmp_path: Path, answer: object) -> None:
    with FakeQemu(folder_of(tmp_path, "a") / "qmp.sock", answers={"query-status": answer or {}}):
        assert resume(tmp_path) == ""


def test_an_answer_without_an_end_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vms_resume, "ANSWER_LIMIT", 1000)
    ours, theirs = socket.socketpair()
    with ours:
        theirs.sendall(b"x" * 5000)
        theirs.close()
        with pytest.raises(ValueError, match="its answer has no end"):
            list(vms_resume.messages(ours, time.monotonic() + 5))


def test_a_link_to_another_vms_monitor_is_not_followed(tmp_path: Path) -> None:
    with FakeQemu(tmp_path / "other", answers={"query-status": {"status": "io-error"}}) as other:
        (folder_of(tmp_path, "a") / "qmp.sock").symlink_to(other.path)
        assert resume(tmp_path) == ""
    assert other.heard == []


def test_links_are_followed_where_nobody_but_root_can_make_them(tmp_path: Path) -> None:
    if os.geteuid():
        pytest.skip("only root's folders are trusted")
    folder = folder_of(tmp_path, "a")
    folder.chmod(0o755)
    with FakeQemu(tmp_path / "other") as other:
        (folder / "qmp.sock").symlink_to(other.path)
        vms_resume.connect(str(folder / "qmp.sock"), 1).close()


@ROOT_ONLY
@pytest.mark.parametrize("owned", ["socket", "folder"])
def test_a_socket_that_is_not_the_folders_owners_is_refused(tmp_path: Path, owned: str) -> None:
    path = folder_of(tmp_path, "a") / "qmp.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        os.chown(path if owned == "socket" else path.parent, OTHER, OTHER)
        with pytest.raises(PermissionError, match="it belongs to uid"):
            vms_resume.connect(str(path), 1)
        # The file may have been given away; who listens tells.
        os.chown(path, OTHER, OTHER)
        os.chown(path.parent, OTHER, OTHER)
        with pytest.raises(PermissionError, match="uid 0 listens there"):
            vms_resume.connect(str(path), 1)


def test_a_listener_that_others_wait_for_is_waited_for(tmp_path: Path) -> None:
    """QEMU serves one client at a time, and a queue that is full is no reason to give up."""
    path = str(folder_of(tmp_path, "a") / "qmp.sock")
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as first:
        listener.bind(path)
        listener.listen(0)
        first.connect(path)
        with pytest.raises(socket.timeout, match="other clients hold it"):
            vms_resume.connect(path, 0.05)
        later = threading.Timer(0.1, lambda: [listener.accept()[0].close()])
        later.start()
        vms_resume.connect(path, 10).close()
        later.join()


@pytest.mark.parametrize("kind", ["link", "fifo", "device", "folder"])
def test_what_is_no_regular_file_is_not_opened(tmp_path: Path, kind: str) -> None:
    path = folder_of(tmp_path, "a") / "console.log"
    if kind == "link":
        (tmp_path / "secret").write_text("root:hash")
        path.symlink_to(tmp_path / "secret")
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.mkdir()
    start = time.monotonic()
    with pytest.raises(OSError, match=r"symbolic link|not a regular file"):
        vms_resume.open_regular(str(path), os.O_RDONLY)
    assert time.monotonic() - start < 20


@ROOT_ONLY
def test_a_file_of_another_user_is_not_opened(tmp_path: Path) -> None:
    path = folder_of(tmp_path, "a") / "console.log"
    path.write_text("x")
    os.chown(path, OTHER, OTHER)
    with pytest.raises(PermissionError, match=f"it belongs to uid {OTHER}"):
        vms_resume.open_regular(str(path), os.O_RDONLY)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vms_resume, "LOG_LIMIT", 2000)
    monkeypatch.setattr(vms_resume, "LOG_KEPT", 1000)


@pytest.mark.usefixtures("short")
def test_a_log_that_is_too_long_keeps_its_last_lines(tmp_path: Path) -> None:
    path = folder_of(tmp_path, "a") / "console.log"
    path.write_text("".join(f"line {number}\n" for number in range(1000)))
    vms_resume.main("", str(tmp_path))
    kept = path.read_text()
    assert kept.startswith("line ")
    assert kept.endswith("line 999\n")
    assert 900 < len(kept) <= 1000
    vms_resume.main("", str(tmp_path))
    assert path.read_text() == kept


@pytest.mark.usefixtures("short")
def test_what_is_appended_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    """QEMU opens its log for appending (logappend=on)."""
    path = folder_of(tmp_path, "a") / "console.log"
    stop = threading.Event()

    def flood() -> None:
        with path.open("ab", buffering=0) as log:
            while not stop.is_set():
                log.write(b"0123456789\n")

    writer = threading.Thread(target=flood)
    writer.start()
    for _round in range(50):
        vms_resume.main("", str(tmp_path))
        time.sleep(0.002)
    stop.set()
    writer.join()
    vms_resume.main("", str(tmp_path))
    assert path.stat().st_size <= 2000
    assert b"\0" not in path.read_bytes()


@pytest.mark.usefixtures("short")
def test_a_log_that_is_a_link_is_not_cut(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("x" * 5000)
    (folder_of(tmp_path, "a") / "console.log").symlink_to(victim)
    vms_resume.main("", str(tmp_path))
    assert victim.stat().st_size == 5000
