# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes in the background, in a folder that belongs to what they speak to."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError, QmpError
from ansible_collections.directdisk.qemu.plugins.module_utils._process.background import background_process

LISTENS = """
import socket, sys, time
sys.stderr.write("first\\nlast words\\n")
sys.stderr.flush()
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
time.sleep(60)
"""


def test_a_link_in_the_place_of_its_log_is_not_followed(tmp_path: Path) -> None:
    ready, secret = tmp_path / "sock", tmp_path / "secret"
    secret.write_text("secret")
    for name in ("sock.log", "sock"):
        (tmp_path / name).symlink_to(secret)
    command = [sys.executable, "-c", LISTENS, str(ready)]
    with (
        pytest.raises(QmpError, match=r"^it failed: last words$"),
        background_process(command, str(ready), seconds=20),
    ):
        raise QmpError("it failed")
    assert secret.read_text() == "secret"


FLOODS = """
import os
try:
    for number in range(64):
        os.write(2, b"line\\n" * (1 << 18))
except OSError:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
else:
    raise SystemExit("its log has grown")
"""


def test_a_log_without_an_end_does_not_fill_the_memory(tmp_path: Path) -> None:
    ready = str(tmp_path / "sock")
    with (
        pytest.raises(QmpError, match=r"^it failed: l(i|in|ine)?$"),
        background_process([sys.executable, "-c", FLOODS + LISTENS, ready], ready, seconds=20),
    ):
        raise QmpError("it failed")


def test_the_last_line_of_a_process_that_ends_is_its_error(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import sys; sys.exit('one\\ntwo')"]
    with pytest.raises(HostError, match=r"^two$"), background_process(command, str(tmp_path / "sock"), seconds=20):
        pass
