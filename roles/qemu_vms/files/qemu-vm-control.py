# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""qemu-vm-control.py started|stop SOCKET SECONDS: what a launch unit says to its QEMU over QMP.

started: wait until every disk is open and the machine answers (ExecStartPost=).
stop: ask the guest to shut down, wait, and switch it off when it does not (ExecStop=).
When QEMU ends, systemd ends this program or sees that nothing is left to do.
"""

from __future__ import annotations

import json
import os
import select
import socket
import sys
import time


def send(monitor: socket.socket, command: str) -> None:
    monitor.sendall(json.dumps({"execute": command}).encode() + b"\n")


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


def started(path: str, seconds: float) -> str | None:
    """QEMU listens early, but answers a command only when it has set everything up."""
    deadline = time.monotonic() + seconds
    # systemd waits for this program even when QEMU has ended, so it must look itself (MAINPID: systemd.exec(5)).
    while time.monotonic() < deadline and os.path.exists(f"/proc/{os.environ['MAINPID']}"):
        monitor = socket.socket(socket.AF_UNIX)
        monitor.settimeout(seconds)
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
        finally:
            monitor.close()
    return "QEMU did not get as far as answering"


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


if __name__ == "__main__":
    try:
        sys.exit({"started": started, "stop": stop}[sys.argv[1]](sys.argv[2], float(sys.argv[3])))
    except OSError as error:
        sys.exit(f"{sys.argv[2]}: {error}")
