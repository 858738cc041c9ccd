# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""guests.py use|read MACHINE...: have guests use their disks, or print what they have said (JSON, by machine)."""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path


def use(vm: str) -> None:
    """The guest counts one up on its disk when i comes over the console."""
    with socket.socket(socket.AF_UNIX) as console:
        console.connect(f"/run/qemu-vm-{vm}/console.sock")
        console.sendall(b"i")


def read(vm: str) -> str:
    return Path(f"/var/log/qemu-vm-{vm}/console.log").read_text(encoding="utf-8")


def main(verb: str, *vms: str) -> None:
    if verb == "use":
        for vm in vms:
            use(vm)
    else:
        print(json.dumps({vm: read(vm) for vm in vms}))


if __name__ == "__main__":
    main(*sys.argv[1:])
