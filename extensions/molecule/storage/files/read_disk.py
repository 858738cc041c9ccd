# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""read_disk.py SOCKET HOST PORT: open what an nbdkit serves, and read a part of it once its own server is away."""

from __future__ import annotations

import socket
import subprocess
import sys
import time

SECONDS = 60
AWAY = 8
"""A server that was killed may come back within two seconds, before somebody stops it."""


def wait_until_away(host: str, port: int) -> None:
    deadline = time.monotonic() + SECONDS
    seen = time.monotonic()
    while time.monotonic() < deadline:
        try:
            socket.create_connection((host, port), timeout=1).close()
            seen = time.monotonic()
        except OSError:
            if time.monotonic() - seen > AWAY:
                return
        time.sleep(0.1)
    sys.exit(f"{host}:{port} did not go away")


def main(path: str, host: str, port: str) -> None:
    command = ["qemu-io", "--read-only", "--format=raw", f"nbd+unix:///?socket={path}"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, text=True) as reader:
        wait_until_away(host, int(port))
        reader.communicate("read 512k 64k\nquit\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
