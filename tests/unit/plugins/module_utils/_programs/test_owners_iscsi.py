# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The program that asks iSCSI targets for reservations, with a double of its session."""

from __future__ import annotations

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._programs import owners_iscsi


class Session:
    """A double of a session: the answers to PERSISTENT RESERVE IN by their service action."""

    def __init__(self, reservation: bytes, status: bytes = b"") -> None:
        self._answers = {owners_iscsi.RESERVATION: reservation, owners_iscsi.FULL_STATUS: status}

        self.changes: list[tuple[int, int, int, int]] = []
        self.unsupported: tuple[int, ...] = ()

    def reserve_out(self, lun: int, action: int, kind: int, key: int, other_key: int) -> bool:
        self.changes.append((action, kind, key, other_key))
        return action not in self.unsupported

    def reserve_in(self, lun: int, action: int) -> bytes:
        return self._answers[action].ljust(4096, b"\0")


RESERVED = bytes.fromhex("00000004 00000010 0000000012345678 00000000 00 01 0000")
"""READ RESERVATION of a LUN that is reserved: write exclusive (SPC-4, 6.15.3)."""


def full_status(name: str, *, holds: bool = True) -> bytes:
    """READ FULL STATUS with one registration (SPC-4, 6.15.5)."""
    text = name.encode().ljust(24, b"\0")
    transport = bytes([0x05, 0]) + len(text).to_bytes(2, "big") + text
    entry = bytes(8) + bytes(4) + bytes([holds, 1]) + bytes(6) + len(transport).to_bytes(4, "big") + transport
    return bytes(4) + len(entry).to_bytes(4, "big") + entry


def reserved(session: Session) -> list[str]:
    check = {"lun": 1, "initiator": "iqn.2008-11.org.linux-kvm:ME"}
    return [owner["name"] for owner in owners_iscsi.owners(session, check)]


def test_a_lun_without_reservation_has_no_owner() -> None:
    # Of a target that knows no reservations, the answer is zeroes.
    assert reserved(Session(bytes(8))) == []


def test_the_initiator_that_has_reserved_a_lun_is_named() -> None:
    assert reserved(Session(RESERVED, full_status("iqn.2026-01.example:other"))) == [
        "reserved by iqn.2026-01.example:other (key 0x12345678, write exclusive)"
    ]


def test_a_reservation_of_the_vm_itself_is_no_obstacle() -> None:
    assert reserved(Session(RESERVED, full_status("iqn.2008-11.org.linux-kvm:me"))) == []


@pytest.mark.parametrize("status", [b"", full_status("iqn.2008-11.org.linux-kvm:me", holds=False)])
def test_a_reservation_whose_holder_is_not_told_is_somebody_elses(status: bytes) -> None:
    assert reserved(Session(RESERVED, status)) == [
        "reserved by an initiator that the target does not name (key 0x12345678, write exclusive)"
    ]


TAKEN = {"lun": 1, "initiator": "iqn.a", "take": [{"key": 0x12345678, "type": 1, "by": ["iqn.b"]}]}


@pytest.mark.parametrize("unsupported", [(), (owners_iscsi.PREEMPT_AND_ABORT,)])
def test_a_reservation_is_preempted_and_given_up(unsupported: tuple[int, ...]) -> None:
    session = Session(RESERVED)
    session.unsupported = unsupported
    owners_iscsi.take(session, TAKEN, 7)
    preempts = [(action, 1, 7, 0x12345678) for action in (5, 4)][: 1 + len(unsupported)]
    assert session.changes == [(6, 0, 0, 7), *preempts, (3, 0, 7, 0)]


@pytest.mark.parametrize(
    ("unsupported", "message"),
    [((6,), "does not let this initiator register"), ((4, 5), "does not support preempting")],
)
def test_a_target_without_preemption_is_named(unsupported: tuple[int, ...], message: str) -> None:
    session = Session(RESERVED)
    session.unsupported = unsupported
    with pytest.raises(owners_iscsi.Failed, match=message):
        owners_iscsi.take(session, TAKEN, 7)
    # Others' registrations are never cleared, and this one is not left behind.
    assert owners_iscsi.CLEAR not in [action for action, *_rest in session.changes]
    assert unsupported == (6,) or session.changes[-1] == (6, 0, 7, 0)
