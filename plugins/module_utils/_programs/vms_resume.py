# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# pylint: disable=ansible-bad-function
# A program of its own, which no module runs in its own process.
"""qemu-vms-resume.py RUN LOGS: resume paused VMs, and keep console logs short.

RUN: resume the VMs below this folder (/run) that an I/O error has paused (on_error: stop).
LOGS: cut the console logs below this folder (/var/log/private) to their end once they are too long.

A VM's folders are its own: what lies in them may be anything. So nothing there is opened through a link, nothing that
does not belong to the folder's owner is used, and every answer is bounded in bytes and seconds.
"""

from __future__ import annotations

import contextlib
import errno
import glob
import json
import os
import socket
import stat
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._programs.unix_socket import connect_by_handle

SECONDS = 5.0
"""Time limit for a VM's answer."""
ANSWER_LIMIT = 65536
"""Maximum size of a line in bytes; the answers to query-status and cont have some hundred."""
WORKERS = 16
LOG_LIMIT = 16 * 1024**2
"""Maximum size of a console log in bytes."""
LOG_KEPT = 8 * 1024**2
"""Bytes at its end that are kept."""


def open_owned(path: str, flags: int) -> tuple[int, int | None]:
    """Open a file in a folder that a VM may write to; return its handle, and the uid that it must belong to.

    The way to the folder is root's. In a folder that nobody but root may write to there is no such uid, and links are
    followed.
    """
    folder = os.open(os.path.dirname(path), os.O_PATH | os.O_DIRECTORY)
    try:
        found = os.fstat(folder)
        owner = None if found.st_uid == 0 and not found.st_mode & 0o022 else found.st_uid
        # O_NONBLOCK: to open a FIFO would wait for its other end.
        flags |= os.O_NONBLOCK | os.O_NOCTTY | (0 if owner is None else os.O_NOFOLLOW)
        try:
            handle = os.open(os.path.basename(path), flags, dir_fd=folder)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise PermissionError(errno.EPERM, "it is a symbolic link, and its folder is not root's") from None
            raise
    finally:
        os.close(folder)
    try:
        file = os.fstat(handle)
        if owner is not None and stat.S_ISLNK(file.st_mode):  # O_PATH opens the link itself
            raise PermissionError(errno.EPERM, "it is a symbolic link, and its folder is not root's")
        if owner is not None and file.st_uid != owner:
            message = f"it belongs to uid {file.st_uid}, and its folder to uid {owner}"
            raise PermissionError(errno.EPERM, message)
    except OSError:
        os.close(handle)
        raise
    return handle, owner


def open_regular(path: str, flags: int) -> int:
    """Open a regular file in a directory that a VM may write to; return its handle."""
    handle, _owner = open_owned(path, flags)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise PermissionError(errno.EPERM, "it is not a regular file")
    return handle


def connect(path: str, seconds: float) -> socket.socket:
    """Connect to a unix socket in a folder that a VM may write to, if the folder's owner listens there."""
    handle, owner = open_owned(path, os.O_PATH)
    try:
        connection, _pid, uid = connect_by_handle(handle, seconds)
    except BlockingIOError:
        raise socket.timeout("other clients hold it") from None
    finally:
        os.close(handle)
    if owner is not None and uid != owner:
        connection.close()
        raise PermissionError(errno.EPERM, f"uid {uid} listens there, and its folder belongs to uid {owner}")
    return connection


def messages(monitor: socket.socket, deadline: float) -> Iterator[dict[str, Any]]:
    """Yield the messages of a monitor until the deadline; raise ValueError if one is malformed."""
    heard = b""
    while True:
        left = deadline - time.monotonic()
        if left <= 0:
            raise ValueError("it does not answer in time")
        line, newline, rest = heard.partition(b"\n")
        if newline:
            heard = rest
            message = json.loads(line)
            if not isinstance(message, dict):
                raise ValueError("it does not answer as QEMU does")
            yield message
            continue
        if len(heard) > ANSWER_LIMIT:
            raise ValueError("its answer has no end")
        monitor.settimeout(left)
        data = monitor.recv(4096)
        if not data:
            return
        heard += data


def ask(monitor: socket.socket, heard: Iterator[dict[str, Any]], command: str) -> Any:
    """Execute a command and return its answer: QEMU drops a command if the connection closes before the answer."""
    monitor.sendall(json.dumps({"execute": command}).encode() + b"\n")
    answer = next((message for message in heard if "return" in message or "error" in message), {})
    return answer.get("return")


def resume_one(path: str) -> bool:
    """Resume a VM that an I/O error paused; return True if it was paused."""
    with connect(path, SECONDS) as monitor:
        heard = messages(monitor, time.monotonic() + SECONDS)
        ask(monitor, heard, "qmp_capabilities")
        answer = ask(monitor, heard, "query-status")
        paused = isinstance(answer, dict) and answer.get("status") == "io-error"
        if paused:
            ask(monitor, heard, "cont")
        return paused


def resume(path: str) -> None:
    """Resume a VM. Errors of one that does not answer, or not as QEMU does, do not affect the others."""
    with contextlib.suppress(OSError, ValueError, RecursionError):
        if resume_one(path):
            print(f"{path}: paused by an I/O error, goes on", flush=True)


def shorten(path: str) -> None:
    """Cut a log that is too long to its last complete lines. QEMU appends to it meanwhile."""
    with contextlib.suppress(OSError):
        handle = open_regular(path, os.O_RDWR | os.O_APPEND)
        try:
            size = os.fstat(handle).st_size
            if size > LOG_LIMIT:
                end = os.pread(handle, LOG_KEPT, size - LOG_KEPT)
                os.ftruncate(handle, 0)
                _write(handle, end[end.find(b"\n") + 1 :])
                print(f"{path}: had {size} bytes, its last {LOG_KEPT} are kept", flush=True)
        finally:
            os.close(handle)


def _write(handle: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]


def main(run: str, logs: str) -> None:
    for path in sorted(glob.glob(f"{glob.escape(logs)}/qemu-vm-*/console.log")):
        shorten(path)
    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(resume, sorted(glob.glob(f"{glob.escape(run)}/qemu-vm-*/qmp.sock"))))


if __name__ == "__main__":
    main(*sys.argv[1:3])
