# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# pylint: disable=ansible-bad-function
# A program of its own, which no module runs in its own process.
"""iscsi_session.py: a session with an iSCSI target, by libiscsi, for a module that must not parse its protocol.

Its first line of input describes the login, each further line one request; all of them and the answers are JSON. It
only reads. The library's functions and their order are those of libiscsi's public headers (1.18 to 1.20); of
structures it knows only the two that its functions hand out, so that a newer layout of others does not matter.
"""

from __future__ import annotations

import base64
import contextlib
import ctypes
import json
import select
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._programs.iscsi_library import Sense, find_library

_DISCOVERY, _NORMAL = 1, 2  # enum iscsi_session_type
_GOOD, _CHECK_CONDITION = 0, 2  # enum scsi_status
_FROM_DEVICE = 1  # enum scsi_xfer_dir
_NO_LUN = -1
_UNIT_ATTENTION = 6  # enum scsi_sense_key
_FRESH_EVENTS = 10
"""Number of unit attentions that a command may get as answer, such as that of a new login."""
_FAREWELL = 5.0
"""Time limit in seconds for a logout."""

_Done = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)


class _Portal(ctypes.Structure):
    """struct iscsi_target_portal."""


_Portal._fields_ = [("next", ctypes.POINTER(_Portal)), ("portal", ctypes.c_char_p)]


class _Address(ctypes.Structure):
    """struct iscsi_discovery_address."""


_Address._fields_ = [
    ("next", ctypes.POINTER(_Address)),
    ("target", ctypes.c_char_p),
    ("portals", ctypes.POINTER(_Portal)),
]


_POINTER, _INT, _TEXT = ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p
_FUNCTIONS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "iscsi_create_context": (_POINTER, (_TEXT,)),
    "iscsi_destroy_context": (_INT, (_POINTER,)),
    "iscsi_get_error": (_TEXT, (_POINTER,)),
    "iscsi_get_fd": (_INT, (_POINTER,)),
    "iscsi_which_events": (_INT, (_POINTER,)),
    "iscsi_service": (_INT, (_POINTER, _INT)),
    "iscsi_init_transport": (_INT, (_POINTER, _INT)),
    "iscsi_set_session_type": (_INT, (_POINTER, _INT)),
    "iscsi_set_header_digest": (_INT, (_POINTER, _INT)),
    "iscsi_set_targetname": (_INT, (_POINTER, _TEXT)),
    "iscsi_set_initiator_username_pwd": (_INT, (_POINTER, _TEXT, _TEXT)),
    "iscsi_set_noautoreconnect": (None, (_POINTER, _INT)),
    "iscsi_is_logged_in": (_INT, (_POINTER,)),
    "iscsi_full_connect_async": (_INT, (_POINTER, _TEXT, _INT, _Done, _POINTER)),
    "iscsi_logout_async": (_INT, (_POINTER, _Done, _POINTER)),
    "iscsi_discovery_async": (_INT, (_POINTER, _Done, _POINTER)),
    "iscsi_scsi_command_async": (_INT, (_POINTER, _INT, _POINTER, _Done, _POINTER, _POINTER)),
    "scsi_create_task": (_POINTER, (_INT, _TEXT, _INT, _INT)),
    "scsi_task_add_data_in_buffer": (_INT, (_POINTER, _INT, _POINTER)),
    "scsi_task_get_status": (_INT, (_POINTER, ctypes.POINTER(Sense))),
    "scsi_free_scsi_task": (None, (_POINTER,)),
}


class IscsiError(Exception):
    """A request to a portal or target failed, in libiscsi's words."""


class LibraryMissing(Exception):
    """This host has no libiscsi."""


class SenseError(Exception):
    """A LUN refused a command."""

    def __init__(self, key: int, code: int) -> None:
        self.key = key
        self.code = code
        super().__init__()


def load_library() -> Any:
    """Load the library and declare the types of its functions; raise LibraryMissing if the host has none."""
    path = find_library()
    if not path:
        raise LibraryMissing("this host has no libiscsi")
    try:
        library = ctypes.CDLL(path)
        for name, (result, arguments) in _FUNCTIONS.items():
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
    except (OSError, AttributeError) as error:
        raise LibraryMissing(f"{path} cannot be used: {error}") from None
    return library


class _Call:
    """An asynchronous call. The callback reads its data, which the library frees afterwards."""

    def __init__(self, read: Callable[[int], Any] = lambda data: None) -> None:
        self.status: int | None = None
        self.result: Any = None
        self._read = read
        self.callback = _Done(self._done)

    def _done(self, context: int, status: int, data: int | None, private: int) -> None:
        del context, private
        if self.status is None:  # a connection reports its end to the callback of its beginning
            self.result = self._read(data) if data and status == _GOOD else None
            self.status = status


class Session:
    """A session with a target, or a discovery session with a portal; no call takes longer than ``seconds``."""

    def __init__(self, library: Any, login: Mapping[str, Any], *, seconds: float) -> None:
        self._library = library
        self._seconds = seconds
        self._kept: list[object] = []
        self._answers = True
        self._context = library.iscsi_create_context(login["initiator"].encode())
        try:
            self._log_in(login)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _log_in(self, login: Mapping[str, Any]) -> None:
        library, context = self._library, self._context
        if library.iscsi_init_transport(context, login["transport"]):
            raise self._error()
        library.iscsi_set_noautoreconnect(context, 1)
        library.iscsi_set_session_type(context, _NORMAL if login["target"] else _DISCOVERY)
        library.iscsi_set_header_digest(context, login["header_digest"])
        if login["target"]:
            library.iscsi_set_targetname(context, login["target"].encode())
        if login["user"]:
            library.iscsi_set_initiator_username_pwd(context, login["user"].encode(), login["password"].encode())
        call = self._keep(_Call())
        started = library.iscsi_full_connect_async(context, login["portal"].encode(), _NO_LUN, call.callback, None)
        self._finish(call, started)

    def close(self) -> None:
        """Log out; also ends if the target does not answer any more."""
        if not self._context:
            return
        if self._answers and self._library.iscsi_is_logged_in(self._context):
            self._seconds = min(self._seconds, _FAREWELL)
            with contextlib.suppress(IscsiError):
                call = self._keep(_Call())
                self._finish(call, self._library.iscsi_logout_async(self._context, call.callback, None))
        self._library.iscsi_destroy_context(self._context)
        self._context = None

    def targets(self) -> dict[str, list[str]]:
        """Return the portals of each target, by discovery."""
        call = self._keep(_Call(_read_addresses))
        self._finish(call, self._library.iscsi_discovery_async(self._context, call.callback, None))
        return dict(call.result or {})

    def ask(self, lun: int, block: bytes, length: int) -> bytes:
        """Return a LUN's answer, filled up with zeroes; raise SenseError if it refuses the command."""
        for _attempt in range(_FRESH_EVENTS):
            try:
                return self._ask(lun, block, length)
            except SenseError as error:
                if error.key != _UNIT_ATTENTION:
                    raise
        raise IscsiError("the target goes on reporting events instead of answering")

    def _ask(self, lun: int, block: bytes, length: int) -> bytes:
        library = self._library
        buffer = ctypes.create_string_buffer(max(length, 1))
        task = library.scsi_create_task(len(block), block, _FROM_DEVICE if length else 0, length)
        if length:
            library.scsi_task_add_data_in_buffer(task, length, ctypes.addressof(buffer))
        call = self._keep(_Call())
        self._kept.append(buffer)  # a target that answers too late must find it
        self._wait(call, library.iscsi_scsi_command_async(self._context, lun, task, call.callback, None, None))
        sense = Sense()
        status = library.scsi_task_get_status(task, ctypes.byref(sense))
        library.scsi_free_scsi_task(task)
        self._kept.remove(buffer)
        self._kept.remove(call)
        if call.status == _CHECK_CONDITION:
            raise SenseError(sense.key, sense.ascq)
        if call.status != _GOOD:
            raise IscsiError(f"SCSI status {status:#x}: {self._error()}")
        return buffer.raw[:length]

    def _keep(self, call: _Call) -> _Call:
        """Keep a call: the library may call back until its context is destroyed."""
        self._kept.append(call)
        return call

    def _finish(self, call: _Call, started: int) -> None:
        self._wait(call, started)
        if call.status != _GOOD:
            raise self._error()

    def _wait(self, call: _Call, started: int) -> None:
        library, context = self._library, self._context
        if started:
            raise self._error()
        deadline = time.monotonic() + self._seconds
        while call.status is None:
            left = deadline - time.monotonic()
            if left <= 0:
                self._answers = False
                raise IscsiError(f"timed out after {self._seconds:g} s")
            if library.iscsi_service(context, self._events(min(left, 0.5))) < 0 and call.status is None:
                raise self._error()

    def _events(self, seconds: float) -> int:
        """Wait for events on the session's socket and return them."""
        poll = select.poll()
        poll.register(self._library.iscsi_get_fd(self._context), self._library.iscsi_which_events(self._context))
        happened = poll.poll(seconds * 1000)
        return happened[0][1] if happened else 0

    def _error(self) -> IscsiError:
        words = self._library.iscsi_get_error(self._context) or b""
        return IscsiError(" ".join(words.decode(errors="replace").split()) or "libiscsi gives no reason")


def _read_addresses(data: int) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    address = ctypes.cast(data, ctypes.POINTER(_Address))
    while address:
        portals = found.setdefault(address.contents.target.decode(), [])
        portal = address.contents.portals
        while portal:
            # The number of the portal's group stands behind a comma.
            portals.append(portal.contents.portal.decode().rpartition(",")[0] or portal.contents.portal.decode())
            portal = portal.contents.next
        address = address.contents.next
    return found


def _answer(session: Session, request: Mapping[str, Any]) -> dict[str, Any]:
    if "block" not in request:
        return {"targets": session.targets()}
    data = session.ask(request["lun"], bytes.fromhex(request["block"]), request["length"])
    return {"data": base64.b64encode(data).decode()}


def serve(lines: Any, write: Callable[[str], Any]) -> None:
    """Answer the requests of a module until it closes its end, or the session fails."""
    try:
        login = json.loads(next(lines))
        with Session(load_library(), login, seconds=login["seconds"]) as session:
            write(json.dumps({}))
            for line in lines:
                try:
                    answer = _answer(session, json.loads(line))
                except SenseError as error:
                    answer = {"sense": [error.key, error.code]}
                write(json.dumps(answer))
    except LibraryMissing as error:
        write(json.dumps({"missing": str(error)}))
    except IscsiError as error:
        write(json.dumps({"error": str(error)}))


if __name__ == "__main__":
    serve(sys.stdin, lambda text: print(text, flush=True))
