# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""qemu-vm-tgt.py [--port-checked] SOCKET PORTAL TARGET BSTYPE STORE CHAP_FILE USER SECONDS

Give a tgtd its one disk (ExecStartPost=).

SOCKET: tgtd's management socket. PORTAL: the address and port that it was told to serve. TARGET: the name of the iSCSI
target; the disk is its LUN 1. BSTYPE, STORE: what tgtadm knows as --bstype and --backing-store. CHAP_FILE: gets the
secret with which USER logs in; a secret that is there already stays, so that a running QEMU finds its way back to a
restarted tgtd. SECONDS: how long the storage may stay away.

It speaks tgtadm's protocol itself, because tgtadm would have the secret on its command line.
"""

from __future__ import annotations

import os
import re
import secrets
import signal
import socket
import string
import struct
import sys
import time

# struct tgtadm_req and tgtadm_rsp in tgt's usr/tgtadm.h. Text follows both; in a request a zero byte ends it.
REQUEST = struct.Struct("=II64sIiQQ20xI")  # mode, op, lld, len, tid, sid, lun, force
RESPONSE = struct.Struct("=II")  # err, len
RESPONSE_SIZE = struct.calcsize(RESPONSE.format)
NEW, DELETE, SHOW, BIND, UNBIND, UPDATE = range(6)
SYSTEM, TARGET, LOGICAL_UNIT, PORTAL, ACCOUNT = 0, 1, 2, 3, 7
TARGET_NUMBER, LUN = 1, 1
ERRORS = {  # tgt's usr/tgtadm_error.h
    1: "unknown error",
    2: "out of memory",
    3: "can't find the driver",
    4: "there is no such target",
    5: "there is no such LUN",
    9: "the target exists already",
    10: "the LUN exists already",
    14: "the account exists already",
    15: "there is no such account",
    17: "invalid request",
    19: "an initiator is logged in to the target",
    20: "the LUN is in use",
}

PORT_CHECKED = "--port-checked"
UNPRIVILEGED_PORTS = "/proc/sys/net/ipv4/ip_unprivileged_port_start"
"""Contains the first port on which any user of the host may listen (ip(7))."""

ALPHABET = string.ascii_letters + string.digits
SECRET_LENGTH = 16
"""CHAP requires at least 12 characters, and some initiators accept at most 16."""

CHECK = {
    "sheepdog": "the sheep must run, its cluster be formatted and have this VDI",
    "glfs": "the server and the volume must answer",
}
WHY_ENDED = {"glfs": ", as it does when the volume has no such file or keeps this user from writing to it"}


class Failed(Exception):
    """An error for the user, in one line."""


class Refused(Exception):
    """tgtd answered with an error."""


class Ended(Exception):
    """tgtd closed the connection without an answer."""


def exchange(
    connection: socket.socket, mode: int, operation: int, text: str, *, tid: int, lun: int = 0, force: bool = False
) -> str:
    """Send one request and return the text of the answer. A connection serves one request."""
    data = text.encode() + b"\0" if text else b""
    connection.sendall(REQUEST.pack(mode, operation, b"iscsi", REQUEST.size + len(data), tid, 0, lun, force) + data)
    answer = b"".join(iter(lambda: connection.recv(65536), b""))
    if len(answer) < RESPONSE_SIZE:
        raise Ended
    error, _length = RESPONSE.unpack_from(answer)
    if error:
        raise Refused(ERRORS.get(error, f"error {error}"))
    return answer[RESPONSE_SIZE:].rstrip(b"\0").decode()


class Tgtd:
    """A tgtd that may still be starting."""

    def __init__(self, path: str, seconds: float, pid: str) -> None:
        self.path = path
        self.pid = pid
        self.deadline = time.monotonic() + seconds

    def may_try_again(self, seconds: float) -> bool:
        """Wait, and return True before the deadline. Raises Failed if tgtd has ended: systemd would go on waiting."""
        if not os.path.exists(f"/proc/{self.pid}"):
            raise Failed("tgtd has ended")
        left = self.deadline - time.monotonic()
        time.sleep(max(min(seconds, left), 0))
        return left > 0

    def connect(self) -> socket.socket:
        while True:
            connection = socket.socket(socket.AF_UNIX)
            try:
                connection.connect(self.path)
                return connection
            except (FileNotFoundError, ConnectionError):
                connection.close()
                if not self.may_try_again(0.05):
                    raise Failed(f"tgtd does not listen on {self.path}") from None

    def ask(self, mode: int, operation: int, text: str = "", *, lun: int = 0) -> str:
        with self.connect() as connection:
            connection.settimeout(max(self.deadline - time.monotonic(), 1))
            try:
                return exchange(connection, mode, operation, text, tid=TARGET_NUMBER, lun=lun)
            except socket.timeout:
                raise Failed("tgtd does not answer") from None
            except ConnectionError:
                raise Ended from None
            except Refused as error:
                raise Refused(f"tgtd answers: {error}") from None

    def check(self, portal: str, bstype: str) -> None:
        """Check that tgtd listens only on its address: if that is taken, it listens on all others."""
        shown = self.ask(PORTAL, SHOW).splitlines()
        if shown != [f"Portal: {portal},1"]:
            raise Failed(f"tgtd does not serve {portal} alone: is the address in use?")
        if not re.search(rf"^ +{bstype}\b", self.ask(SYSTEM, SHOW), re.MULTILINE):
            raise Failed(f"tgtd knows no backing store of type {bstype}: is a package missing?")

    def open(self, bstype: str, store: str) -> None:
        """Add the disk, once its storage answers. tgtd does nothing else meanwhile."""
        while True:
            try:
                self.ask(LOGICAL_UNIT, NEW, f"path={store},bstype={bstype}", lun=LUN)
                return
            except (Failed, Refused) as error:
                if not self.may_try_again(1):
                    raise Failed(f"{error}; {CHECK.get(bstype, 'its own messages say more')}") from None
            except Ended:
                raise Failed(f"tgtd ended over it{WHY_ENDED.get(bstype, '')}") from None


def check_port(portal: str) -> None:
    """Refuse a port on which other users may listen: QEMU does not check who answers, and reconnects by itself."""
    port = int(portal.rpartition(":")[2])
    with open(UNPRIVILEGED_PORTS) as file:
        first = int(file.read())
    if port >= first:
        raise Failed(
            f"any user of this host may listen at port {port}, and would get what the VM writes while tgtd is down; "
            f"set the sysctl net.ipv4.ip_unprivileged_port_start ({first}) above {port}"
        )


def chap_secret(path: str) -> str:
    """Return the secret in the file; create it atomically if it is missing."""
    try:
        with open(path) as file:
            return file.read()
    except FileNotFoundError:
        secret = "".join(secrets.choice(ALPHABET) for _character in range(SECRET_LENGTH))
        unfinished = f"{path}.{os.getpid()}"
        with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400), "w") as file:
            file.write(secret)
        os.rename(unfinished, path)
        return secret


def serve(
    path: str, portal: str, target: str, bstype: str, store: str, chap_file: str, user: str, seconds: str, *, pid: str
) -> None:
    """Configure the tgtd with this PID."""
    if "," in store:
        raise Failed("tgtd takes no name with a comma")
    secret = chap_secret(chap_file)
    tgtd = Tgtd(path, float(seconds), pid)
    tgtd.check(portal, bstype)
    tgtd.ask(TARGET, NEW, f"targetname={target}")
    tgtd.ask(ACCOUNT, NEW, f"user={user},password={secret}")
    tgtd.ask(ACCOUNT, BIND, f"user={user}")
    tgtd.open(bstype, store)
    # Nobody gets to the target before this.
    tgtd.ask(TARGET, BIND, "initiator-address=127.0.0.0/8")


if __name__ == "__main__":
    # The unit stops with it, because tgtd ignores SIGTERM.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    # A confined process sees no sysctl: the process that starts it checks the port.
    checked = sys.argv[1:2] == [PORT_CHECKED]
    given = sys.argv[1 + checked :]
    try:
        if not checked:
            check_port(given[1])
        serve(*given, pid=os.environ["MAINPID"])
    except Ended:
        raise SystemExit(f"{given[4]}: tgtd has ended, or runs as another user") from None
    except (Failed, Refused, OSError) as error:
        raise SystemExit(f"{given[4]}: {error}") from None
