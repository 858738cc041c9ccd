# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""press.py VM KEY WORD COUNT: send a key to a tiny guest, and wait until its console has said a word so often."""

from __future__ import annotations

import socket
import sys
import time
from pathlib import Path


def said(vm: str, word: str) -> int:
    log = Path(f"/var/log/private/qemu-vm-{vm}/console.log")
    return log.read_text(errors="replace").count(word) if log.exists() else 0


def wait(vm: str, word: str, count: int) -> None:
    deadline = time.monotonic() + 20
    while said(vm, word) < count:
        if time.monotonic() > deadline:
            sys.exit(f"{vm}: {word} was said {said(vm, word)} times, not {count}")
        time.sleep(0.1)


def main(vm: str, key: str, word: str, count: str) -> None:
    wait(vm, "GUEST-READY", 1)
    with socket.socket(socket.AF_UNIX) as console:
        console.connect(f"/run/qemu-vm-{vm}/console.sock")
        console.sendall(key.encode())
        wait(vm, word, int(count))


if __name__ == "__main__":
    main(*sys.argv[1:])
