# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""read_disk.py MACHINE NODE: have a machine's QEMU read 64 KiB, half a MiB into a node; prints what it says."""

from __future__ import annotations

import json
import socket
import sys


def main(machine: str, node: str) -> None:
    with socket.socket(socket.AF_UNIX) as monitor:
        monitor.settimeout(120)
        monitor.connect(f"/run/qemu-vm-{machine}/qmp.sock")
        lines = monitor.makefile("rw", encoding="utf-8")
        lines.readline()
        command = {"command-line": f'qemu-io {node} "read 512k 64k"'}
        for request in (
            {"execute": "qmp_capabilities"},
            {"execute": "human-monitor-command", "arguments": command, "id": "read"},
        ):
            lines.write(f"{json.dumps(request)}\n")
        lines.flush()
        for line in lines:
            answer = json.loads(line)
            if answer.get("id") == "read":
                print(answer)
                return


if __name__ == "__main__":
    main(*sys.argv[1:])
