# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""qemu-vm-control.py started SOCKET SECONDS CHECK | stop SOCKET SECONDS | resume FOLDER: what units say to QEMU.

started: wait until every disk is open, check what QEMU has opened, and let the guest run (ExecStartPost=).
    CHECK is JSON. "images": the declared backing file of each disk's image, or null; "overlays": nodes whose backing is
    another node; "run": whether the guest is let run.
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


def reply(monitor: socket.socket, lines: Iterable[str], command: str) -> dict[str, Any]:
    """The answer to a command with ``return`` or ``error`` in it; empty where QEMU has closed the connection."""
    send(monitor, command)
    answers = (message for message in map(json.loads, lines) if "return" in message or "error" in message)
    return dict(next(answers, {}))


def ask(monitor: socket.socket, lines: Iterable[str], command: str) -> dict[str, Any]:
    """The answer to a command; QEMU forgets one whose connection ends before it was answered."""
    return dict(reply(monitor, lines, command).get("return", {}))


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


def data_problem(image: dict[str, Any]) -> str:
    """Why a guest may not have the data of an image (QAPI ImageInfo)."""
    data = image.get("format-specific", {}).get("data", {}).get("data-file")
    if data:
        return f"its data is in another file ({data}), as its header says; such an image is not opened"
    if not image.get("virtual-size"):
        return "the image is empty (0 bytes), as is what a link in an archive names; correct the declaration"
    return ""


def image_problem(image: dict[str, Any], backing: dict[str, str] | None) -> str:
    """Why an image is not the declared one; backing: the file that it stands on and its format, as declared."""
    found = image.get("backing-filename", "")
    base = image.get("backing-image", {})
    if not backing:
        # QEMU was told not to open it: a guest would read zeroes instead.
        advice = "flatten it, or declare that as backing (provision)"
        return data_problem(image) or (f"it stands on {found}, as its header says; {advice}" if found else "")
    if (found, base.get("format")) != (backing["file"], backing["format"]):
        said = f"{found} ({base.get('format')})" if found else "nothing"
        return f"it stands on {said}, and {backing['file']} ({backing['format']}) is declared as backing"
    problem = image_problem(base, None)
    return data_problem(image) or (f"its backing file {found}: {problem}" if problem else "")


def open_problem(nodes: list[dict[str, Any]], check: dict[str, Any]) -> str:
    """Why what QEMU has opened is not what was declared: the header of an image can name other files."""
    opened = {str(node.get("node-name")): node.get("image", {}) for node in nodes}
    for name in (*check["overlays"], *check["images"]):
        if name not in opened:
            return f"QEMU has no node {name}"
        image = opened[name]
        problem = data_problem(image) if name in check["overlays"] else image_problem(image, check["images"][name])
        if problem:
            return f"disk {name.partition('.')[0]}: {problem}"
    return ""


def let_run(monitor: socket.socket, lines: Iterable[str], check: dict[str, Any]) -> str | None:
    """Until here the guest has not run: nothing that was opened has been given to it."""
    nodes = reply(monitor, lines, "query-named-block-nodes").get("return")
    problem = "QEMU does not say what it has opened" if nodes is None else open_problem(nodes, check)
    if problem or not check["run"]:
        return problem or None
    answer = reply(monitor, lines, "cont")
    if "return" in answer:
        return None
    return f"QEMU does not let the guest run: {answer.get('error', {}).get('desc', 'it ended')}"


def started(path: str, seconds: float, check: dict[str, Any]) -> str | None:
    """QEMU listens early, but answers a command only when it has set everything up."""
    deadline = time.monotonic() + seconds
    # systemd waits for this program even when QEMU has ended, so it must look itself (MAINPID: systemd.exec(5)).
    while time.monotonic() < deadline and os.path.exists(f"/proc/{os.environ['MAINPID']}"):
        monitor = socket.socket(socket.AF_UNIX)
        monitor.settimeout(deadline - time.monotonic())
        try:
            monitor.connect(path)
            lines = monitor.makefile()
            if "return" not in reply(monitor, lines, "qmp_capabilities"):
                return "QEMU ended while it started"
            return let_run(monitor, lines, check)
        except (FileNotFoundError, ConnectionError):
            time.sleep(0.02)
        except socket.timeout:
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
        if sys.argv[1] == "started":
            sys.exit(started(sys.argv[2], float(sys.argv[3]), json.loads(sys.argv[4])))
        sys.exit(stop(sys.argv[2], float(sys.argv[3])))
    except OSError as error:
        sys.exit(f"{sys.argv[2]}: {error}")
