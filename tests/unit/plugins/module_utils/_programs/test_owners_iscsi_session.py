# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A session of the program that asks iSCSI targets for reservations, with a double of libiscsi."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._programs import iscsi_library, owners_iscsi

GOOD, CONFLICT = (0, 0), (0x18, 0)
UNSUPPORTED, EVENT, HARDWARE = (2, owners_iscsi.ILLEGAL_REQUEST), (2, owners_iscsi.UNIT_ATTENTION), (2, 4)
IN, OUT = "PERSISTENT RESERVE IN", "PERSISTENT RESERVE OUT 6"


class Library:
    """A double of libiscsi: a target with these statuses and sense keys, one a command, the last one for ever."""

    def __init__(self, statuses: Sequence[tuple[int, int]], *, connected: bool = True) -> None:
        self._statuses = list(statuses)
        self._connected = connected
        self.sent = 0

    def __getattr__(self, name: str) -> Any:
        return lambda *_arguments: 1

    def iscsi_scsi_command_sync(self, *_arguments: Any) -> int:
        self.sent += 1
        return int(self._connected)

    def scsi_task_get_status(self, _task: Any, sense: Any) -> int:
        status, sense._obj.key = self._statuses[min(self.sent, len(self._statuses)) - 1]
        return status

    def iscsi_full_connect_sync(self, *_arguments: Any) -> int:
        return int(not self._connected)

    def iscsi_get_error(self, _context: Any) -> bytes:
        return b"no\nroute to host"


CHECK = {"initiator": "iqn.a", "transport": 0, "header_digest": 1, "target": "iqn.b", "portal": "192.0.2.9", "lun": 1}


def session(*statuses: tuple[int, int]) -> owners_iscsi.Session:
    return owners_iscsi.Session(Library(statuses), CHECK, 1)


def change(one: owners_iscsi.Session) -> bool:
    return one.reserve_out(1, owners_iscsi.REGISTER_AND_IGNORE, 0, 0, 7)


def test_a_target_that_knows_no_reservations_has_none_and_cannot_change_one() -> None:
    assert session(UNSUPPORTED).reserve_in(1, owners_iscsi.RESERVATION) == bytes(owners_iscsi.ANSWER)
    assert not change(session(UNSUPPORTED))
    owner = {"key": 1, "type": 1}
    with pytest.raises(owners_iscsi.Failed, match="does not let this initiator register"):
        owners_iscsi.take(session(UNSUPPORTED), {**CHECK, "take": [owner]}, 7)


def test_a_target_that_reports_an_event_first_is_asked_again() -> None:
    assert session(EVENT, EVENT, GOOD).reserve_in(1, owners_iscsi.RESERVATION) == bytes(owners_iscsi.ANSWER)
    assert change(session(EVENT, GOOD))


@pytest.mark.parametrize(
    ("status", "reading", "changing"),
    [
        (CONFLICT, f"{IN}: status 0x18, sense key 0", f"{OUT}: status 0x18, sense key 0"),
        (HARDWARE, f"{IN}: status 0x2, sense key 4", f"{OUT}: status 0x2, sense key 4"),
        (EVENT, f"{IN}: the target goes on reporting events", f"{OUT}: status 0x2, sense key 6"),
    ],
)
def test_a_target_that_refuses_is_named(status: tuple[int, int], reading: str, changing: str) -> None:
    with pytest.raises(owners_iscsi.Failed, match=f"^{reading}"):
        session(status).reserve_in(1, owners_iscsi.RESERVATION)
    with pytest.raises(owners_iscsi.Failed, match=f"^{changing}"):
        change(session(status))


def test_a_connection_that_breaks_is_an_error() -> None:
    with pytest.raises(owners_iscsi.Failed, match=r"^no route to host$"):
        owners_iscsi.Session(Library([], connected=False), CHECK, 1)
    broken = session(GOOD)
    broken._library = Library([GOOD], connected=False)
    for ask in (lambda: broken.reserve_in(1, owners_iscsi.RESERVATION), lambda: change(broken)):
        with pytest.raises(owners_iscsi.Failed, match=r"^no route to host$"):
            ask()


def test_a_host_without_the_library_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(iscsi_library, "PLACES", ())
    with pytest.raises(OSError, match=r"^this host has no libiscsi$"):
        owners_iscsi.load_library()
