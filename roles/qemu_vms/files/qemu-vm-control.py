# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""qemu-vm-control.py started|stop SOCKET SECONDS: what a launch unit says to its QEMU.

started: wait until every disk is open and the VM answers (ExecStartPost=).
stop: ask the guest to shut down, wait, and switch it off when it does not (ExecStop=).
When QEMU ends, systemd ends this program or sees that nothing is left to do.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import select
import socket
import stat
import struct
import sys
import time

OPEN_OR_OPENING = ("01", "02")
"""TCP_ESTABLISHED and TCP_SYN_SENT in /proc/net/tcp (linux/tcp_states.h)."""
ANSWER_LIMIT = 65536
"""Bytes of QEMU's greeting and first answer; they have some hundred."""


def send(monitor: socket.socket, command: str) -> None:
    monitor.sendall(json.dumps({"execute": command}).encode() + b"\n")


def runs() -> bool:
    """Whether this unit's QEMU is there (MAINPID: systemd.exec(5))."""
    main = os.environ.get("MAINPID", "")
    return bool(main) and os.path.exists(f"/proc/{main}")


def connect(path: str, seconds: float) -> socket.socket:
    """A connection to the monitor of this unit's QEMU, and of no other process.

    The folder is the VM's own, and this program is root: the socket may be a link to that of another VM.
    """
    handle = os.open(path, os.O_PATH | os.O_NOFOLLOW)
    monitor = socket.socket(socket.AF_UNIX)
    try:
        if not stat.S_ISSOCK(os.fstat(handle).st_mode):
            raise PermissionError(errno.EPERM, "it is not a socket")
        monitor.settimeout(seconds)
        # By its handle: the name may belong to another file by now.
        monitor.connect(f"/proc/self/fd/{handle}")
        peer = struct.unpack("3i", monitor.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
        if str(peer) != os.environ["MAINPID"]:
            message = f"process {peer} listens there, and this VM's QEMU is process {os.environ['MAINPID']}"
            raise PermissionError(errno.EPERM, message)
    except OSError:
        monitor.close()
        raise
    finally:
        os.close(handle)
    return monitor


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
    # systemd waits for this program even when QEMU has ended, so it must look itself.
    while time.monotonic() < deadline and runs():
        try:
            with connect(path, max(deadline - time.monotonic(), 0.001)) as monitor:
                return wait_for_answer(monitor, deadline, seconds)
        except (FileNotFoundError, ConnectionError):
            time.sleep(0.02)
        except socket.timeout:  # which is no TimeoutError before Python 3.10
            break
    return too_slow(seconds)


def wait_for_answer(monitor: socket.socket, deadline: float, seconds: float) -> str | None:
    """Why QEMU has not started; None once it has answered its first command."""
    send(monitor, "qmp_capabilities")
    heard = b""
    while b'"return"' not in heard:
        left = deadline - time.monotonic()
        if left <= 0:
            return too_slow(seconds)
        if len(heard) > ANSWER_LIMIT:
            return "QEMU's monitor does not answer as QEMU does"
        monitor.settimeout(left)
        data = monitor.recv(65536)
        if not data:
            return "QEMU ended while it started"
        heard += data
    return None


def stop(path: str, seconds: float) -> str | None:
    """Power button first; a guest that does not obey is switched off.

    systemd calls this, too, when QEMU has ended by itself, because its guest has powered off: nothing is left to do
    then, and a failure here would count as the unit's, and start the VM again. Where QEMU runs and cannot be asked,
    systemd ends it.
    """
    if not runs():
        return None
    try:
        with connect(path, 10) as monitor:
            send(monitor, "qmp_capabilities")
            # A guest that is paused (after an I/O error, say) cannot see the power button.
            send(monitor, "cont")
            send(monitor, "system_powerdown")
            if not wait_for_end(monitor, time.monotonic() + seconds):
                send(monitor, "quit")
                wait_for_end(monitor, time.monotonic() + 10)
    except OSError as error:
        if runs():
            print(f"{path}: {error.strerror or error}; QEMU is ended without its guest", file=sys.stderr)
    return None


if __name__ == "__main__":
    try:
        sys.exit({"started": started, "stop": stop}[sys.argv[1]](sys.argv[2], float(sys.argv[3])))
    except OSError as error:
        sys.exit(f"{sys.argv[2]}: {error.strerror or error}")
