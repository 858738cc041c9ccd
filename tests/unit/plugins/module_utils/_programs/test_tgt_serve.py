# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The program that gives a tgtd its disk, against a test double of tgtd's management socket."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from ansible_collections.directdisk.qemu.tests.unit.support import UNIT_TESTS

PROGRAM = UNIT_TESTS.parents[1] / "plugins" / "module_utils" / "_programs" / "tgt_serve.py"
PORTAL = "127.9.8.7:326"
STORE = "tcp:sheep.example:7000:vdi"
SHOWN = {
    "portal": f"Portal: {PORTAL},1\n",
    "system": "System:\n    State: ready\nBacking stores:\n    sheepdog\n    glfs (bsoflags sync:direct)\n",
}
# struct tgtadm_req of tgt 1.0.79 to 1.0.97 on a 64-bit host, as tgtadm sends it.
REQUEST = struct.Struct("<II64sIiQQIIIIII")
MODES = {0: "system", 1: "target", 2: "lun", 3: "portal", 7: "account"}
OPERATIONS = {0: "new", 2: "show", 3: "bind"}


class FakeTgtd:
    """Remembers what it was asked. ``answers``: errors that the next requests for a LUN get; None: it just closes."""

    def __init__(self, path: Path, *answers: int | None, portal: str = SHOWN["portal"]) -> None:
        self.path = path
        self.heard: list[str] = []
        self._answers = list(answers)
        self._shown = {**SHOWN, "portal": portal}
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> FakeTgtd:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)  # ends accept()
        self._thread.join(10)
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection = self._listener.accept()[0]
            except OSError:
                return
            with connection:
                self._converse(connection)

    def _converse(self, connection: socket.socket) -> None:
        head = connection.recv(REQUEST.size, socket.MSG_WAITALL)
        if not head:
            return
        mode, operation, driver, length, tid, _sid, lun, *rest = REQUEST.unpack(head)
        assert (driver.rstrip(b"\0"), tid, rest) == (b"iscsi", 1, [0] * 6)
        text = connection.recv(length - REQUEST.size, socket.MSG_WAITALL) if length > REQUEST.size else b"\0"
        assert text.endswith(b"\0")
        what = MODES[mode]
        self.heard.append(f"{what} {OPERATIONS[operation]} {lun} {text[:-1].decode()}".rstrip())
        error: int | None = 0
        if what == "lun" and self._answers:
            error = self._answers.pop(0)
        if error is not None:
            shown = self._shown[what].encode() + b"\0" if operation == 2 else b""
            connection.sendall(struct.pack("<II", error, 8 + len(shown)) + shown)


def run(
    path: Path, *options: str, seconds: float = 5, bstype: str = "sheepdog", store: str = STORE, portal: str = PORTAL
) -> tuple[int, str]:
    words = [path, portal, "iqn.x:vm.disk", bstype, store, path.with_name("chap"), "qemu", seconds]
    done = subprocess.run(
        [sys.executable, "-IS", str(PROGRAM), *options, *map(str, words)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={"MAINPID": str(os.getpid())},
    )
    return done.returncode, done.stderr


def test_the_target_opens_to_others_only_when_it_is_complete(tmp_path: Path) -> None:
    with FakeTgtd(tmp_path / "s") as tgtd:
        assert run(tgtd.path) == (0, "")
    chap = tmp_path / "chap"
    secret = chap.read_text()
    assert (chap.stat().st_mode & 0o777, len(secret), secret.isalnum()) == (0o400, 16, True)
    assert tgtd.heard == [
        "portal show 0",
        "system show 0",
        "target new 0 targetname=iqn.x:vm.disk",
        f"account new 0 user=qemu,password={secret}",
        "account bind 0 user=qemu",
        f"lun new 1 path={STORE},bstype=sheepdog",
        "target bind 0 initiator-address=127.0.0.0/8",
    ]


def test_a_secret_that_is_there_stays(tmp_path: Path) -> None:
    (tmp_path / "chap").write_text("0123456789abcdef")
    with FakeTgtd(tmp_path / "s") as tgtd:
        assert run(tgtd.path) == (0, "")
    assert "account new 0 user=qemu,password=0123456789abcdef" in tgtd.heard


def test_storage_that_comes_late_is_waited_for(tmp_path: Path) -> None:
    with FakeTgtd(tmp_path / "s", 17) as tgtd:
        assert run(tgtd.path) == (0, "")
    assert [line.split()[0] for line in tgtd.heard].count("lun") == 2


def test_storage_that_stays_away_is_named(tmp_path: Path) -> None:
    with FakeTgtd(tmp_path / "s", *[17] * 9) as tgtd:
        code, said = run(tgtd.path, seconds=0.2)
    assert code == 1
    assert said == (
        f"{STORE}: tgtd answers: invalid request; the sheep must run, its cluster be formatted and have this VDI\n"
    )
    assert not any("initiator-address" in line for line in tgtd.heard)


def test_a_tgtd_that_crashes_over_a_file_on_gluster(tmp_path: Path) -> None:
    with FakeTgtd(tmp_path / "s", None) as tgtd:
        code, said = run(tgtd.path, bstype="glfs", store="gv@host:file")
    assert code == 1
    assert said == (
        "gv@host:file: tgtd ended over it, as it does when the volume has no such file or keeps this user from writing"
        " to it\n"
    )


@pytest.mark.parametrize("portal", ["", "Portal: :::3260,1\n", f"Portal: {PORTAL},1\nPortal: 0.0.0.0:3260,1\n"])
def test_a_tgtd_that_serves_other_addresses_gets_no_disk(tmp_path: Path, portal: str) -> None:
    with FakeTgtd(tmp_path / "s", portal=portal) as tgtd:
        assert run(tgtd.path) == (
            1,
            f"{STORE}: tgtd does not serve {PORTAL} alone: is the address in use?\n",
        )
    assert tgtd.heard == ["portal show 0"]


def test_a_tgtd_without_the_backing_store(tmp_path: Path) -> None:
    with FakeTgtd(tmp_path / "s") as tgtd:
        assert run(tgtd.path, bstype="rbd", store="x") == (
            1,
            "x: tgtd knows no backing store of type rbd: is a package missing?\n",
        )


def test_no_disk_at_a_port_that_any_user_may_listen_at(tmp_path: Path) -> None:
    with FakeTgtd(tmp_path / "s") as tgtd:
        code, said = run(tgtd.path, portal="127.9.8.7:61000")
    assert code == 1
    assert said.startswith(f"{STORE}: any user of this host may listen at port 61000, and would get what the VM writes")
    assert tgtd.heard == []


def test_a_port_is_not_checked_where_its_sysctl_cannot_be_seen(tmp_path: Path) -> None:
    portal = "127.9.8.7:61000"
    with FakeTgtd(tmp_path / "s", portal=f"Portal: {portal},1\n") as tgtd:
        assert run(tgtd.path, "--port-checked", portal=portal) == (0, "")


def test_a_tgtd_that_never_listens(tmp_path: Path) -> None:
    assert run(tmp_path / "s", seconds=0.2) == (1, f"{STORE}: tgtd does not listen on {tmp_path / 's'}\n")
