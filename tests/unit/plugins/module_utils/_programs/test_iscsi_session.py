# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sessions with a double of libiscsi, which answers as it is told to, late or never."""

from __future__ import annotations

import base64
import ctypes
import json
import time
from typing import Any

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._clients import scsi
from ansible_collections.directdisk.qemu.plugins.module_utils._programs import iscsi_library, iscsi_session
from ansible_collections.directdisk.qemu.plugins.module_utils._programs.iscsi_session import (
    IscsiError,
    SenseError,
    Session,
)

LOGIN = {
    "portal": "127.0.0.1:3260",
    "target": "iqn.x:y",
    "user": "",
    "password": "",
    "initiator": "iqn.me",
    "header_digest": 0,
    "transport": 0,
    "seconds": 5,
}
TEST_UNIT_READY = scsi.test_unit_ready().block
TIMES_OUT = 0.2


class Library:
    """Calls back from iscsi_service, as libiscsi does."""

    def __init__(self, *outcomes: int, silent: bool = False, error: bytes = b"", data: Any = None) -> None:
        self.outcomes = list(outcomes)
        self.silent = silent
        self.error = error
        self.data = data
        self.calls: list[str] = []
        self.due: list[Any] = []
        self.senses: list[tuple[int, int]] = []
        self.buffer = 0

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any) -> int:
            self.calls.append(name)
            if name.endswith("_async"):
                callback = next(argument for argument in arguments if isinstance(argument, iscsi_session._Done))
                self.due.append(callback)
            return 0

        return call

    def iscsi_create_context(self, name: bytes) -> int:
        self.calls.append(f"create {name.decode()}")
        return 1

    def iscsi_get_error(self, context: int) -> bytes:
        return self.error

    def iscsi_is_logged_in(self, context: int) -> int:
        return 1

    def iscsi_get_fd(self, context: int) -> int:
        return 0

    def iscsi_service(self, context: int, events: int) -> int:
        if self.due and not self.silent:
            status = self.outcomes.pop(0) if self.outcomes else 0
            self.due.pop(0)(context, status, self.data, None)
        return 0

    def scsi_create_task(self, *arguments: Any) -> int:
        return 2

    def scsi_task_add_data_in_buffer(self, task: int, length: int, buffer: int) -> int:
        ctypes.memmove(buffer, b"answer", min(length, 6))
        return 0

    def scsi_task_get_status(self, task: int, sense: Any) -> int:
        sense._obj.key, sense._obj.ascq = self.senses.pop(0) if self.senses else (0, 0)
        return 0


def test_a_session_logs_in_and_out() -> None:
    library = Library()
    with Session(library, LOGIN, seconds=5) as session:
        assert session.ask(1, bytes(6), 8) == b"answer\0\0"
        assert session.ask(1, TEST_UNIT_READY, 0) == b""
    assert library.calls[0] == "create iqn.me"
    assert [call for call in library.calls if call.endswith("_async")] == [
        "iscsi_full_connect_async",
        "iscsi_scsi_command_async",
        "iscsi_scsi_command_async",
        "iscsi_logout_async",
    ]
    assert "iscsi_set_initiator_username_pwd" not in library.calls
    assert library.calls[-1] == "iscsi_destroy_context"
    assert library.calls.count("scsi_free_scsi_task") == 2


def test_a_refused_login_says_why_and_leaves_nothing() -> None:
    library = Library(0x0F000001, error=b"Failed to log in\n to target. Status: Authentication failure(513)")
    with pytest.raises(IscsiError, match=r"^Failed to log in to target\. Status: Authentication failure\(513\)$"):
        Session(library, LOGIN, seconds=5)
    assert library.calls[-1] == "iscsi_destroy_context"


def test_a_portal_that_is_silent_costs_no_more_than_its_time() -> None:
    library = Library(silent=True)
    begun = time.monotonic()
    with pytest.raises(IscsiError, match=r"timed out after 0\.2 s"):
        Session(library, LOGIN, seconds=TIMES_OUT)
    assert time.monotonic() - begun < 5
    assert "iscsi_logout_async" not in library.calls
    assert library.calls[-1] == "iscsi_destroy_context"


def test_a_command_that_is_not_answered_times_out_and_its_buffer_stays() -> None:
    library = Library()
    with Session(library, LOGIN, seconds=TIMES_OUT) as session:
        library.silent = True
        with pytest.raises(IscsiError, match="timed out"):
            session.ask(1, scsi.read_capacity().block, 32)
        assert any(isinstance(kept, ctypes.Array) for kept in session._kept)
    assert "scsi_free_scsi_task" not in library.calls


def test_news_of_a_device_are_taken_note_of_and_refusals_raised() -> None:
    library = Library(0, 2, 2, 2)
    library.senses = [(6, 0x2900), (6, 0x3F0E), (5, 0x2500)]
    with Session(library, LOGIN, seconds=5) as session, pytest.raises(SenseError) as caught:
        session.ask(9, TEST_UNIT_READY, 0)
    assert (caught.value.key, caught.value.code) == (5, 0x2500)


def test_the_targets_of_a_portal_are_read_while_they_are_there() -> None:
    portals = iscsi_session._Portal(None, b"192.0.2.9:3260,1")
    other = iscsi_session._Portal(ctypes.pointer(portals), b"[2001:db8::9]:3260,1")
    second = iscsi_session._Address(None, b"iqn.b", ctypes.pointer(portals))
    first = iscsi_session._Address(ctypes.pointer(second), b"iqn.a", ctypes.pointer(other))
    library = Library(data=ctypes.addressof(first))
    with Session(library, LOGIN, seconds=5) as session:
        assert session.targets() == {"iqn.a": ["[2001:db8::9]:3260", "192.0.2.9:3260"], "iqn.b": ["192.0.2.9:3260"]}


def test_a_host_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(iscsi_library, "PLACES", ("/nonexistent/libiscsi.so.*",))
    with pytest.raises(iscsi_session.LibraryMissing, match="this host has no libiscsi"):
        iscsi_session.load_library()


def test_a_library_that_is_another(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    (tmp_path / "libiscsi.so.7").write_text("no library")
    monkeypatch.setattr(iscsi_library, "PLACES", (f"{tmp_path}/libiscsi.so.*",))
    with pytest.raises(iscsi_session.LibraryMissing, match="cannot be used"):
        iscsi_session.load_library()


def answers(monkeypatch: pytest.MonkeyPatch, library: Library, *requests: dict[str, Any]) -> list[dict[str, Any]]:
    monkeypatch.setattr(iscsi_session, "load_library", lambda: library)
    written: list[str] = []
    iscsi_session.serve(iter(map(json.dumps, [LOGIN, *requests])), written.append)
    return [json.loads(text) for text in written]


def test_requests_are_answered_until_their_end(monkeypatch: pytest.MonkeyPatch) -> None:
    library = Library(0, 0, 2)
    library.senses = [(0, 0), (5, 0x2500)]
    asked = {"lun": 1, "block": "00" * 6, "length": 8}
    expected = [{}, {"data": base64.b64encode(b"answer\0\0").decode()}, {"sense": [5, 0x2500]}, {"targets": {}}]
    assert answers(monkeypatch, library, asked, asked, {}) == expected
    assert library.calls[-1] == "iscsi_destroy_context"


def test_a_failure_is_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    assert answers(monkeypatch, Library(1, error=b"Refused")) == [{"error": "Refused"}]


def test_a_missing_library_is_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(iscsi_library, "PLACES", ())
    written: list[str] = []
    iscsi_session.serve(iter([json.dumps(LOGIN)]), written.append)
    assert written == ['{"missing": "this host has no libiscsi"}']
