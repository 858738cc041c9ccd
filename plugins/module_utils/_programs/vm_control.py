# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# pylint: disable=ansible-bad-function
# A program of its own, which no module runs in its own process.
"""qemu-vm-control.py started SOCKET SECONDS CHECK | stop SOCKET SECONDS: commands of a launch unit to its QEMU.

started: wait until every disk is open, check what QEMU has opened, and let the guest run (ExecStartPost=).
    CHECK is JSON. "images": the declared backing file of each disk's image, or null; "overlays": nodes whose backing is
    another node; "run": whether the guest is let run; "links_down": networks whose link is down, where there are any.
stop: ask the guest to shut down, wait, and switch it off if it does not (ExecStop=).
When QEMU ends, systemd ends this program or sees that nothing is left to do.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import select
import socket
import sys
import time
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._programs.unix_socket import connect_by_handle

OPEN_OR_OPENING = ("01", "02")
"""TCP_ESTABLISHED and TCP_SYN_SENT in /proc/net/tcp (linux/tcp_states.h)."""
ANSWER_LIMIT = 4 * 2**20
"""Bytes of an answer at most; what QEMU says of fifty disks has some hundred thousand."""


class NotQemu(Exception):
    """The listener at the monitor does not answer as QEMU does."""


def send(monitor: socket.socket, command: str, **arguments: Any) -> None:
    request = {"execute": command, **({"arguments": arguments} if arguments else {})}
    monitor.sendall(json.dumps(request).encode() + b"\n")


def runs() -> bool:
    """Return if this unit's QEMU exists (MAINPID: systemd.exec(5))."""
    main = os.environ.get("MAINPID", "")
    return bool(main) and os.path.exists(f"/proc/{main}")


def connect(path: str, seconds: float) -> socket.socket:
    """Connect to the monitor of this unit's QEMU, and of no other process.

    The folder is the VM's own, and this program is root: the socket may be a link to that of another VM.
    """
    handle = os.open(path, os.O_PATH | os.O_NOFOLLOW)
    try:
        monitor, peer, _uid = connect_by_handle(handle, seconds)
    finally:
        os.close(handle)
    if str(peer) != os.environ["MAINPID"]:
        monitor.close()
        message = f"process {peer} listens there, and this VM's QEMU is process {os.environ['MAINPID']}"
        raise PermissionError(errno.EPERM, message)
    return monitor


def reply(monitor: socket.socket, heard: bytearray, command: str, deadline: float, **arguments: Any) -> dict[str, Any]:
    """Return the answer to a command, with ``return`` or ``error`` in it; empty if QEMU has closed the connection."""
    send(monitor, command, **arguments)
    while True:
        line, newline, rest = heard.partition(b"\n")
        if newline:
            heard[:] = rest
            message = message_in(bytes(line))
            if "return" in message or "error" in message:
                return message
            continue
        if len(heard) > ANSWER_LIMIT:
            raise NotQemu
        left = deadline - time.monotonic()
        if left <= 0:
            raise socket.timeout
        monitor.settimeout(left)
        data = monitor.recv(65536)
        if not data:
            return {}
        heard += data


def message_in(line: bytes) -> dict[str, Any]:
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        raise NotQemu from None
    if not isinstance(message, dict):
        raise NotQemu
    return message


def wait_for_end(monitor: socket.socket, deadline: float) -> bool:
    """Return if QEMU closed its monitor, that is, ended, before the deadline."""
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
    """Return host:port of an address in /proc/net/tcp: 32-bit words in the host's byte order, then the port."""
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
    """Return why QEMU has not opened its disks in time."""
    try:
        waits_for = connections(os.environ["MAINPID"])
    except (OSError, KeyError):  # systemd sets no MAINPID once the process has ended
        return "QEMU ended while it started"
    words = f"; it waits for {', '.join(waits_for)}" if waits_for else ""
    return f"QEMU has not opened its disks within {seconds:g} s{words}"


def data_problem(image: dict[str, Any]) -> str:
    """Return why a guest must not be given the data of an image (QAPI ImageInfo); empty if it may be."""
    data = image.get("format-specific", {}).get("data", {}).get("data-file")
    if data:
        return f"its data is in another file ({data}), as its header says; such an image is not opened"
    if not image.get("virtual-size"):
        return "the image is empty (0 bytes), as is what a link in an archive names; correct the declaration"
    return ""


def image_problem(image: dict[str, Any], backing: dict[str, str] | None) -> str:
    """Return why an image is not the declared one; backing: its declared backing file and the format of that."""
    found = image.get("backing-filename", "")
    base = image.get("backing-image", {})
    if not backing:
        # QEMU was told not to open it: a guest would read zeroes instead.
        advice = "flatten it, or declare that as backing (provision)"
        return data_problem(image) or (f"it stands on {found}, as its header says; {advice}" if found else "")
    if (found, base.get("format")) != (backing["file"], backing["format"]):
        actual = f"{found} ({base.get('format')})" if found else "nothing"
        return f"it stands on {actual}, and {backing['file']} ({backing['format']}) is declared as backing"
    problem = image_problem(base, None)
    return data_problem(image) or (f"its backing file {found}: {problem}" if problem else "")


def open_problem(nodes: list[dict[str, Any]], check: dict[str, Any]) -> str:
    """Return why QEMU has opened other files than declared: headers of images name them."""
    opened = {str(node.get("node-name")): node.get("image", {}) for node in nodes}
    for name in (*check["overlays"], *check["images"]):
        if name not in opened:
            return f"QEMU has no node {name}"
        image = opened[name]
        problem = data_problem(image) if name in check["overlays"] else image_problem(image, check["images"][name])
        if problem:
            return f"disk {name.partition('.')[0]}: {problem}"
    return ""


def let_run(monitor: socket.socket, deadline: float, check: dict[str, Any]) -> str | None:
    """Check what QEMU has opened, and let the guest run, which has not run so far; return why not if it is refused."""
    heard = bytearray()
    if "return" not in reply(monitor, heard, "qmp_capabilities", deadline):
        return "QEMU ended while it started"
    nodes = reply(monitor, heard, "query-named-block-nodes", deadline).get("return")
    problem = "QEMU does not say what it has opened" if nodes is None else open_problem(nodes, check)
    for name in () if problem else check.get("links_down", ()):
        answer = reply(monitor, heard, "set_link", deadline, name=name, up=False)
        if "return" not in answer:
            problem = f"network {name}: its link stays up: {answer.get('error', {}).get('desc', 'QEMU has ended')}"
    if problem or not check["run"]:
        return problem or None
    answer = reply(monitor, heard, "cont", deadline)
    if "return" in answer:
        return None
    return f"QEMU does not let the guest run: {answer.get('error', {}).get('desc', 'it ended')}"


def started(path: str, seconds: float, check: dict[str, Any]) -> str | None:
    """Wait until QEMU has opened its disks, and start the guest; return the reason if it does not start.

    QEMU listens early, but answers a command only when it has set everything up.
    """
    deadline = time.monotonic() + seconds
    # systemd waits for this program even when QEMU has ended, so it must look itself.
    while time.monotonic() < deadline and runs():
        try:
            with connect(path, max(deadline - time.monotonic(), 0.001)) as monitor:
                return let_run(monitor, deadline, check)
        except (FileNotFoundError, ConnectionError):
            time.sleep(0.02)
        except NotQemu:
            return "QEMU's monitor does not answer as QEMU does"
        except socket.timeout:  # which is no TimeoutError before Python 3.10
            break
    return too_slow(seconds)


def stop(path: str, seconds: float) -> str | None:
    """Press the power button, and switch off a guest that does not obey.

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
        if sys.argv[1] == "started":
            sys.exit(started(sys.argv[2], float(sys.argv[3]), json.loads(sys.argv[4])))
        sys.exit(stop(sys.argv[2], float(sys.argv[3])))
    except OSError as error:
        sys.exit(f"{sys.argv[2]}: {error.strerror or error}")
