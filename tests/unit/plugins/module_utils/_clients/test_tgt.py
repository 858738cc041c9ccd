# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The client of a tgtd: one run at a time, and tgtd's answers as errors."""

from __future__ import annotations

import socket
import struct
import threading
from pathlib import Path

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._clients import tgt
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError
from ansible_collections.directdisk.qemu.plugins.module_utils._programs.tgt_serve import LOGICAL_UNIT, NEW, REQUEST


@pytest.fixture(autouse=True)
def _own_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tgt, "LOCK", str(tmp_path / "lock"))
    monkeypatch.setattr(tgt, "LOCK_SECONDS", 0.1)
    monkeypatch.setattr(tgt, "SOCKET", str(tmp_path / "socket"))


def test_a_second_run_is_refused_after_the_time_limit() -> None:
    with (
        tgt.Tgtd(1),
        pytest.raises(HostError, match="another run on this host is working on this host's tgtd: process"),
        tgt.Tgtd(1),
    ):
        pytest.fail("two runs have the same tgtd")
    with tgt.Tgtd(1):
        pass


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (struct.pack("=II", 5, 8), "tgtd: there is no such LUN"),
        (struct.pack("=II", 99, 8), "tgtd: error 99"),
        (b"", "tgtd ended instead of answering; read its log"),
    ],
)
def test_an_answer_of_tgtd_is_an_error_with_its_meaning(answer: bytes, message: str) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(tgt.SOCKET)
        listener.listen()
        heard: list[bytes] = []

        def serve() -> None:
            with listener.accept()[0] as connection:
                heard.append(connection.recv(1000))
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        with tgt.Tgtd(5) as tgtd, pytest.raises(HostError) as caught:
            tgtd.ask(NEW, LOGICAL_UNIT, "path=x", tid=3, lun=7, force=True)
        thread.join(5)
    assert str(caught.value) == message
    length = REQUEST.size + len(b"path=x\0")
    assert heard == [REQUEST.pack(2, 0, b"iscsi", length, 3, 0, 7, 1) + b"path=x\0"]
