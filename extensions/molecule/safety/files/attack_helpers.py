# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""attack_helpers.py VM: what a QEMU that a guest has taken over gets of its helpers; runs in the place of QEMU.

Writes what it got into probe.json in the unit's runtime directory.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import Callable


def tried(call: Callable[[], str]) -> str:
    try:
        return call()
    except OSError as error:
        return f"{type(error).__name__}: {error}"


def memory_of(pid: int) -> str:
    with open(f"/proc/{pid}/maps") as maps:
        address = int(next(line for line in maps if "r-xp" in line).partition("-")[0], 16)
    with open(f"/proc/{pid}/mem", "r+b", buffering=0) as memory:
        memory.seek(address)
        code = memory.read(8)
        memory.seek(address)
        return f"wrote {memory.write(code)} bytes of its code"


def credentials_of(pid: int) -> list[str]:
    found = []
    with contextlib.suppress(OSError):
        folder = f"/proc/{pid}/root/run/credentials"
        for unit in os.listdir(folder):
            for name in os.listdir(f"{folder}/{unit}"):
                with open(f"{folder}/{unit}/{name}") as stream:
                    found.append(f"{unit}/{name}: {len(stream.read())} characters")
    return found


def attacks(pid: int) -> dict[str, object]:
    """Process numbers are tried one by one: those of others are hidden from a listing."""
    got: dict[str, object] = {"credentials": credentials_of(pid)}
    for name, call in (("memory", lambda: memory_of(pid)), ("signal", lambda: str(os.kill(pid, signal.SIGCONT)))):
        with contextlib.suppress(OSError):
            got[name] = call()
    return {name: value for name, value in got.items() if value}


def said_by(path: str, request: bytes = b"") -> str:
    """The first bytes that come from a socket, in hexadecimal."""
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(5)
        peer.connect(path)
        peer.sendall(request)
        return peer.recv(16).hex()


def main(vm: str) -> None:
    own = {os.getpid(), os.getppid()}
    with open("/proc/sys/kernel/pid_max") as stream:
        last = min(int(stream.read()), 1 << 17)
    found = {pid: attacks(pid) for pid in range(2, last) if pid not in own and os.path.exists(f"/proc/{pid}")}
    agent = f"/run/qemu-vm-{vm}.ssh/agent.sock"
    got = {
        "processes": {pid: what for pid, what in found.items() if what},
        "nbdkit": tried(lambda: said_by(f"/run/qemu-vm-{vm}.web/nbd.sock")),
        "keys": tried(lambda: said_by(agent, b"\0\0\0\1\x0b")),
        "remove all keys": tried(lambda: said_by(agent, b"\0\0\0\1\x13")),
        "agent itself": tried(lambda: said_by(f"{agent}.own", b"\0\0\0\1\x0b")),
        "folders": {
            part: tried(lambda part=part: str(os.open(f"/run/qemu-vm-{vm}.{part}/x", os.O_CREAT | os.O_WRONLY)))
            for part in ("web", "ssh", "root")
        },
    }
    result = f"{os.environ['RUNTIME_DIRECTORY']}/probe.json"
    with open(f"{result}.new", "w") as stream:
        json.dump(got, stream)
    os.rename(f"{result}.new", result)


if __name__ == "__main__":
    main(sys.argv[1])
    signal.pause()
