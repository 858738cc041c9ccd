# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# pylint: disable=ansible-bad-function
# A program of its own, which no module runs in its own process.
"""qemu-vm-owner-iscsi.py SECONDS: who has reserved LUNs. A program of storage_owner.py's, see there.

By persistent reservations (SPC-4, 6.15 and 6.16), over a session that libiscsi makes as QEMU would. A reservation is
taken by preempting it, which aborts the commands of its holder, and is given up again: QEMU itself makes none.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._programs.iscsi_library import Sense, find_library

UNABLE = 69  # EX_UNAVAILABLE in sysexits.h

RESERVATION, FULL_STATUS = 1, 3  # service actions of PERSISTENT RESERVE IN
CLEAR, PREEMPT, PREEMPT_AND_ABORT, REGISTER_AND_IGNORE = 3, 4, 5, 6  # service actions of PERSISTENT RESERVE OUT
GOOD, CHECK_CONDITION = 0, 2  # enum scsi_status
ILLEGAL_REQUEST, UNIT_ATTENTION = 5, 6  # enum scsi_sense_key
ANSWER = 4096
TYPES = {
    1: "write exclusive",
    3: "exclusive access",
    5: "write exclusive, registrants only",
    6: "exclusive access, registrants only",
    7: "write exclusive, all registrants",
    8: "exclusive access, all registrants",
}

ADVICE = (
    "stop what uses the LUN there, and have it release the reservation; if that host is dead, clear the reservation "
    "with qemu_vms_takeover, with sg_persist --clear, or at the target"
)

Check = Mapping[str, Any]


class Failed(Exception):
    """An error for the user, in one line."""


def load_library() -> Any:
    """Load libiscsi and declare the types of functions that do not return a number."""
    path = find_library()
    if not path:
        raise OSError("this host has no libiscsi")
    library = ctypes.CDLL(path)
    library.iscsi_get_error.restype = ctypes.c_char_p
    for function in (library.iscsi_create_context, library.scsi_create_task, library.iscsi_scsi_command_sync):
        function.restype = ctypes.c_void_p
    return library


class Data(ctypes.Structure):
    """struct iscsi_data (iscsi/iscsi.h)."""

    _fields_ = (("size", ctypes.c_size_t), ("data", ctypes.c_char_p))


class Session:
    """A session with a target."""

    def __init__(self, library: Any, check: Check, seconds: float) -> None:
        self._library = library
        self._context = context = ctypes.c_void_p(library.iscsi_create_context(check["initiator"].encode()))
        library.iscsi_init_transport(context, check["transport"])
        library.iscsi_set_noautoreconnect(context, 1)
        library.iscsi_set_timeout(context, max(int(seconds), 1))
        library.iscsi_set_session_type(context, 2)  # ISCSI_SESSION_NORMAL
        library.iscsi_set_header_digest(context, check["header_digest"])
        library.iscsi_set_targetname(context, check["target"].encode())
        if "password" in check:
            with open(check["password"], encoding="utf-8") as stream:
                library.iscsi_set_initiator_username_pwd(context, check["user"].encode(), stream.read().encode())
        # Without a LUN: libiscsi would ask whether it is ready, and one that others have reserved says no.
        if library.iscsi_full_connect_sync(context, check["portal"].encode(), -1):
            raise self.failed()

    def failed(self) -> Failed:
        """Return libiscsi's error message."""
        return Failed(" ".join((self._library.iscsi_get_error(self._context) or b"").decode(errors="replace").split()))

    def reserve_in(self, lun: int, action: int) -> bytes:
        """Return the answer to PERSISTENT RESERVE IN; zeroes if the target does not support it."""
        library, block = self._library, bytes([0x5E, action, 0, 0, 0, 0, 0, *ANSWER.to_bytes(2, "big"), 0])
        for _attempt in range(10):
            buffer, sense = ctypes.create_string_buffer(ANSWER), Sense()
            task = ctypes.c_void_p(library.scsi_create_task(len(block), block, 1, ANSWER))  # SCSI_XFER_READ
            library.scsi_task_add_data_in_buffer(task, ANSWER, buffer)
            if not library.iscsi_scsi_command_sync(self._context, lun, task, None):
                raise self.failed()
            status = library.scsi_task_get_status(task, ctypes.byref(sense))
            if status == GOOD:
                return buffer.raw
            if status == CHECK_CONDITION and sense.key == ILLEGAL_REQUEST:
                return bytes(ANSWER)
            if status != CHECK_CONDITION or sense.key != UNIT_ATTENTION:
                raise Failed(f"PERSISTENT RESERVE IN: status {status:#x}, sense key {sense.key}")
        raise Failed("PERSISTENT RESERVE IN: the target goes on reporting events instead of answering")

    def reserve_out(self, lun: int, action: int, kind: int, key: int, other_key: int) -> bool:
        """Change the reservation; return False if the target does not support this action."""
        library, block = self._library, bytes([0x5F, action, kind, 0, 0, 0, 0, 0, 24, 0])
        data = Data(24, key.to_bytes(8, "big") + other_key.to_bytes(8, "big") + bytes(8))
        for _attempt in range(10):
            sense = Sense()
            task = ctypes.c_void_p(library.scsi_create_task(len(block), block, 2, 24))  # SCSI_XFER_WRITE
            if not library.iscsi_scsi_command_sync(self._context, lun, task, ctypes.byref(data)):
                raise self.failed()
            status = library.scsi_task_get_status(task, ctypes.byref(sense))
            if status == GOOD:
                return True
            if status == CHECK_CONDITION and sense.key == ILLEGAL_REQUEST:
                return False
            if status != CHECK_CONDITION or sense.key != UNIT_ATTENTION:
                break
        raise Failed(f"PERSISTENT RESERVE OUT {action}: status {status:#x}, sense key {sense.key}")

    def close(self) -> None:
        self._library.iscsi_logout_sync(self._context)


def owners(session: Any, check: Check) -> Iterator[dict[str, Any]]:
    """Return the other initiator that holds the LUN's reservation."""
    answer = session.reserve_in(check["lun"], RESERVATION)
    if int.from_bytes(answer[4:8], "big") < 16:
        return
    key, kind = int.from_bytes(answer[8:16], "big"), answer[21] & 0x0F
    holders = holders_in(session.reserve_in(check["lun"], FULL_STATUS))
    others = [name for name in holders if name.lower() != check["initiator"].lower()]
    if others or not holders:
        by = f"by {' and '.join(others)}" if others else "by an initiator that the target does not name"
        name = f"reserved {by} (key {key:#x}, {TYPES.get(kind, f'type {kind}')})"
        take = {"key": key, "type": kind, "by": others}
        action = f"preempt and clear its reservation {by} (key {key:#x})"
        yield {"name": name, "advice": ADVICE, "here": False, "take": take, "address": "", "action": action}


def holders_in(answer: bytes) -> list[str]:
    """Return the names of the initiators that hold the reservation, from an answer to READ FULL STATUS."""
    found, rest = [], answer[8 : 8 + int.from_bytes(answer[4:8], "big")]
    while len(rest) >= 24:
        length = int.from_bytes(rest[20:24], "big")
        transport = rest[24 : 24 + length]
        if rest[12] & 1 and transport and transport[0] & 0x0F == 5:  # R_HOLDER; a TransportID of iSCSI
            name = transport[4 : 4 + int.from_bytes(transport[2:4], "big")].decode(errors="replace")
            found.append(name.split("\0")[0].split(",")[0])
        rest = rest[24 + length :]
    return found


def take(session: Any, check: Check, own_key: int) -> None:
    """Preempt the named reservation and give it up."""
    for owner in check["take"]:
        lun, kind, key = check["lun"], owner["type"], owner["key"]
        if not session.reserve_out(lun, REGISTER_AND_IGNORE, 0, 0, own_key):
            raise Failed("the target does not let this initiator register, so its reservation cannot be preempted")
        actions = (PREEMPT_AND_ABORT, PREEMPT)
        if not any(session.reserve_out(lun, action, kind, own_key, key) for action in actions):
            session.reserve_out(lun, REGISTER_AND_IGNORE, 0, own_key, 0)
            raise Failed("the target does not support preempting a reservation; clear it at the target")
        # It belongs to this session alone, and QEMU makes one of its own.
        session.reserve_out(lun, CLEAR, 0, own_key, 0)


def answers(library: Any, checks: list[Check], seconds: float) -> Iterator[dict[str, Any]]:
    for check in checks:
        session = Session(library, check, seconds)
        if check.get("take"):
            take(session, check, int.from_bytes(os.urandom(8), "big") or 1)
        yield {"owners": list(owners(session, check))}
        session.close()


if __name__ == "__main__":
    try:
        libiscsi = load_library()
    except (OSError, AttributeError) as missing:
        print(missing, file=sys.stderr)
        sys.exit(UNABLE)
    try:
        for answer in answers(libiscsi, json.load(sys.stdin), float(sys.argv[1])):
            print(json.dumps(answer), flush=True)
    except (Failed, OSError) as problem:
        print(problem, file=sys.stderr, flush=True)
        os._exit(1)
