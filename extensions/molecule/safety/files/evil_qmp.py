# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""evil_qmp.py VM MODE: another monitor in the place of a VM's own, as a guest that has broken into QEMU can make it."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys

GREETING = b'{"QMP":{}}\n'
WRONG = {"query-status": ["x"], "query-blockstats": [{"stats": 5}]}
ESCAPES = {
    "query-status": {"status": "\x1b]0;owned\x07"},
    "query-blockstats": [],
    "x-debug-query-block-graph": {"nodes": [], "edges": []},
}
PIECES = {
    "garbage": b"\xff\xfe not json\n",
    "list": b"[1,2]\n[3]\n",
    "deep": b'{"a":' + b"[" * 200000 + b"]" * 200000 + b"}\n",
}


def serve(client: socket.socket, mode: str, kept: list[socket.socket]) -> None:
    if mode in PIECES:
        client.sendall(PIECES[mode])
    elif mode == "flood":
        while True:
            client.sendall(b"A" * 1048576)
    elif mode == "silent":
        kept.append(client.dup())
    else:
        answers = WRONG if mode == "types" else ESCAPES
        client.sendall(GREETING)
        for line in client.makefile("rb"):
            answer = answers.get(json.loads(line)["execute"], {})
            client.sendall(json.dumps({"return": answer}).encode() + b"\n")


def main(vm: str, mode: str) -> None:
    folder = f"/run/qemu-vm-{vm}"
    os.setuid(os.stat(folder).st_uid)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(f"{folder}/qmp.sock")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"{folder}/qmp.sock")
    listener.listen(50)
    kept: list[socket.socket] = []
    while True:
        with listener.accept()[0] as client, contextlib.suppress(OSError):
            serve(client, mode, kept)


if __name__ == "__main__":
    main(*sys.argv[1:])
