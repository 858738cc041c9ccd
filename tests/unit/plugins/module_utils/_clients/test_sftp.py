# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""SFTP servers that answer oddly: each is one clear error, and none of them gets memory for what it announces."""

from __future__ import annotations

import sys
import tracemalloc

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._clients import sftp
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError

SERVER = """
import os, struct, sys, time
i, o = sys.stdin.buffer, sys.stdout.buffer
def send(data): o.write(data); o.flush()
def answer(body): send(struct.pack(">I", len(body)) + body)
mode = sys.argv[1]
def receive(): return i.read(struct.unpack(">I", i.read(4))[0])
if mode == "huge": send(struct.pack(">I", 0xFFFFFFFF) + bytes(1 << 20)); time.sleep(60)
if mode == "zero": send(bytes(4)); time.sleep(60)
if mode == "noise": send(b"Welcome to our server!"); time.sleep(60)
if mode == "silent": time.sleep(60)
if mode == "end": sys.exit()
if mode == "noisy end": sys.stderr.write("line\\n" * 1000000 + "unread"); sys.exit()
if mode == "hidden end": sys.stderr.write("gone"); sys.stderr.flush(); os.close(1); time.sleep(60)
receive(); answer(b"\\2" + struct.pack(">I", 3))
number = struct.unpack(">I", receive()[1:5])[0]
known = struct.pack(">I", number)
answer({
    "empty": b"e",
    "short status": b"e" + known + b"\\0",
    "short attributes": b"i" + known + struct.pack(">I", 4),
    "other request": b"e" + struct.pack(">II", number + 77, 0),
    "escapes": b"e" + known + struct.pack(">II", 4, 9) + b"\\x1b[31m red\\n",
    "long": b"e" + known + struct.pack(">II", 4, 200000) + b"M" * 200000,
}[mode])
time.sleep(60)
"""


@pytest.mark.parametrize(
    "mode, words",
    [
        ("huge", "does not speak SFTP: it announces a packet of 4294967295 bytes"),
        ("zero", "does not speak SFTP: it announces a packet of 0 bytes"),
        ("noise", "does not speak SFTP"),
        ("silent", "does not answer: timed out after 2 s"),
        ("end", "ssh ended"),
        ("noisy end", "^l(ine)?$"),
        ("hidden end", "^gone$"),
        ("empty", "its answer is too short"),
        ("short status", "its answer is too short"),
        ("short attributes", "its answer is too short"),
        ("other request", "it answers request 78, and 1 was made"),
        ("escapes", r"SFTP server:  \[31m red \(sftp error code: 4\)$"),
        ("long", r"SFTP server: M{500} \(sftp error code: 4\)$"),
    ],
)
def test_an_odd_answer_is_one_clear_error(mode: str, words: str) -> None:
    tracemalloc.start()
    seconds = {"silent": 2, "hidden end": 0.5}.get(mode, 30)
    with (
        pytest.raises(HostError, match=words),
        sftp.session([sys.executable, "-c", SERVER, mode], {}, seconds=seconds) as files,
    ):
        files.kind("/srv/a.img")
    _now, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 4 << 20
