# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""qemu-vm-control.py started|stop SOCKET SECONDS, qemu-vm-control.py resume FOLDER: what units say to QEMU.

started: wait until every disk is open and the machine answers (ExecStartPost=).
stop: ask the guest to shut down, wait, and switch it off when it does not (ExecStop=).
resume: let the machines go on, of those below FOLDER, that an I/O error has paused (on_error: stop).
When QEMU ends, systemd ends this program or sees that nothing is left to do.
"""

from __future__ import annotations

import contextlib
import glob
import json
import os
import select
import socket
import sys
import time
from collections.abc import Iterable
from typing import Any

OPEN_OR_OPENING = ("01", "02")
"""TCP_ESTABLISHED and TCP_SYN_SENT in /proc/net/tcp (linux/tcp_states.h)."""


def send(monitor: socket.socket, command: str) -> None:
    monitor.sendall(json.dumps({"execute": command}).encode() + b"\n")


def ask(monitor: socket.socket, lines: Iterable[str], command: str) -> dict[str, Any]:
    """The answer to a command; QEMU forgets one whose connection ends before it was answered."""
    send(monitor, command)
    answers = (message for message in map(json.loads, lines) if "return" in message or "error" in message)
    return dict(next(answers, {}).get("return", {}))


def wait_for_end(monitor: socket.socket, deadline: float) -> bool:
    """Whether QEMU closed its monitor, that is, ended, before the deadline."""
    while True:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([monitor], [], [], left)[0]:
            return False
        try:
            if not monitor.recv(65536):
                return True
        except ConnectionError:
            return True


def peer(address: str) -> str:
    """host:port of an address in /proc/net/tcp: 32-bit words in the machine's byte order, then the port."""
    host, _colon, port = address.partition(":")
    packed = b"".join(int(host[i : i + 8], 16).to_bytes(4, sys.byteorder) for i in range(0, len(host), 8))
    family = socket.AF_INET if len(packed) == 4 else socket.AF_INET6
    return f"{socket.inet_ntop(family, packed)}:{int(port, 16)}"


def connections(pid: str) -> list[str]:
    """The servers that a process is connected to, or tries to reach."""
    inodes = set()
    for descriptor in os.scandir(f"/proc/{pid}/fd"):
        with contextlib.suppress(OSError):
            inodes.add(os.readlink(descriptor.path))
    found = []
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/net/{table}", encoding="ascii") as stream:
            rows = [line.split() for line in stream][1:]
            found += [peer(row[2]) for row in rows if f"socket:[{row[9]}]" in inodes and row[3] in OPEN_OR_OPENING]
    return sorted(set(found))


def too_slow(seconds: float) -> str:
    """What QEMU has not finished with."""
    try:
        waits_for = connections(os.environ["MAINPID"])
    except OSError:
        return "QEMU ended while it started"
    words = f"; it waits for {', '.join(waits_for)}" if waits_for else ""
    return f"QEMU has not opened its disks within {seconds:g} s{words}"


def started(path: str, seconds: float) -> str | None:
    """QEMU listens early, but answers a command only when it has set everything up."""
    deadline = time.monotonic() + seconds
    # systemd waits for this program even when QEMU has ended, so it must look itself (MAINPID: systemd.exec(5)).
    while time.monotonic() < deadline and os.path.exists(f"/proc/{os.environ['MAINPID']}"):
        monitor = socket.socket(socket.AF_UNIX)
        monitor.settimeout(deadline - time.monotonic())
        try:
            monitor.connect(path)
            send(monitor, "qmp_capabilities")
            heard = b""
            while b'"return"' not in heard:
                data = monitor.recv(65536)
                if not data:
                    return "QEMU ended while it started"
                heard += data
            return None
        except (FileNotFoundError, ConnectionError):
            time.sleep(0.02)
        except TimeoutError:
            break
        finally:
            monitor.close()
    return too_slow(seconds)


def stop(path: str, seconds: float) -> str | None:
    """Power button first; a guest that does not obey is switched off."""
    monitor = socket.socket(socket.AF_UNIX)
    monitor.settimeout(10)
    monitor.connect(path)
    send(monitor, "qmp_capabilities")
    # A guest that is paused (after an I/O error, say) cannot see the power button.
    send(monitor, "cont")
    send(monitor, "system_powerdown")
    if not wait_for_end(monitor, time.monotonic() + seconds):
        send(monitor, "quit")
        wait_for_end(monitor, time.monotonic() + 10)
    return None


def status(path: str) -> str:
    """What a machine is doing, and "cont" to it when that is nothing because of an I/O error."""
    with socket.socket(socket.AF_UNIX) as monitor:
        monitor.settimeout(5)
        monitor.connect(path)
        lines = monitor.makefile()
        ask(monitor, lines, "qmp_capabilities")
        found = str(ask(monitor, lines, "query-status").get("status", ""))
        if found == "io-error":
            ask(monitor, lines, "cont")
        return found


def resume(folder: str) -> None:
    """One machine that does not answer does not keep the others waiting for more than its turn."""
    for path in sorted(glob.glob(f"{glob.escape(folder)}/qemu-vm-*/qmp.sock")):
        with contextlib.suppress(OSError, ValueError):
            if status(path) == "io-error":
                print(f"{path}: paused by an I/O error, goes on", flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "resume":
        sys.exit(resume(sys.argv[2]))
    try:
        sys.exit({"started": started, "stop": stop}[sys.argv[1]](sys.argv[2], float(sys.argv[3])))
    except OSError as error:
        sys.exit(f"{sys.argv[2]}: {error}")
