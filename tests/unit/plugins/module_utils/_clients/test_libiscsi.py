# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A session is had by another process, whose answers need not be sound."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import Mock

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._clients import libiscsi, scsi
from ansible_collections.directdisk.qemu.plugins.module_utils._clients.libiscsi import (
    IscsiError,
    LibraryMissing,
    Login,
    SenseError,
    Session,
)
from ansible_collections.directdisk.qemu.plugins.module_utils._images.lun import session as lun_session
from ansible_collections.directdisk.qemu.plugins.module_utils._images.lun.session import login_of

LOGIN = Login("127.0.0.1", 3260, "iqn.x:y", "joe", "s3cret", "iqn.me", 0, 0)
ANSWERS = """
import json, sys
login = json.loads(sys.stdin.readline())
for answer in {answers!r}:
    if answer is None:
        import time; time.sleep(60)
    print(answer if isinstance(answer, str) else json.dumps(answer), flush=True)
    seen = sys.stdin.readline()
"""


@contextmanager
def session(monkeypatch: pytest.MonkeyPatch, *answers: Any, seconds: float = 5) -> Iterator[Session]:
    monkeypatch.setattr(libiscsi, "text_of", lambda _program: ANSWERS.format(answers=answers))
    with Session([], LOGIN, seconds=seconds) as opened:
        yield opened


def test_an_answer_is_as_long_as_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with session(monkeypatch, {}, {"data": "YWJj"}, {"data": "YWJj"}) as opened:
        assert opened.ask(1, scsi.Command(bytes(6), 5)) == b"abc\0\0"
        assert opened.ask(1, scsi.Command(bytes(6), 2)) == b"ab"


def test_targets_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    with session(monkeypatch, {}, {"targets": {"iqn.a": ["192.0.2.9:3260"]}}) as opened:
        assert opened.targets() == {"iqn.a": ["192.0.2.9:3260"]}


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ({"error": "Failed to log in"}, IscsiError("Failed to log in")),
        ({"missing": "this host has no libiscsi"}, LibraryMissing("this host has no libiscsi")),
    ],
)
def test_a_session_that_fails_says_why(monkeypatch: pytest.MonkeyPatch, answer: Any, error: Exception) -> None:
    with pytest.raises(type(error), match=str(error)), session(monkeypatch, answer):
        pass


def test_a_refused_command_is_a_sense(monkeypatch: pytest.MonkeyPatch) -> None:
    with session(monkeypatch, {}, {"sense": [5, 0x2500]}) as opened, pytest.raises(SenseError) as caught:
        opened.ask(1, scsi.test_unit_ready())
    assert (caught.value.key, caught.value.code) == (5, 0x2500)


ODD = ["", "[1]", "null", "{", "[" * 100000, {"data": 7}, {"data": "a"}, {"sense": [1]}, {"sense": ["x", 2]}, {"x": 1}]


@pytest.mark.parametrize("answer", ODD, ids=range(len(ODD)))
def test_a_process_that_was_taken_over_is_an_error(monkeypatch: pytest.MonkeyPatch, answer: Any) -> None:
    with session(monkeypatch, {}, answer) as opened, pytest.raises(IscsiError, match="gives no sound answer"):
        opened.ask(1, scsi.Command(bytes(6), 5))


def test_a_process_that_crashes_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(IscsiError, match="has ended, or gives no sound answer"), session(monkeypatch):
        pass


def test_a_process_that_does_not_answer_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libiscsi, "_MARGIN", 0.1)
    begun = time.monotonic()
    with pytest.raises(IscsiError, match=r"timed out after 0\.1 s"), session(monkeypatch, None, seconds=0.1):
        pass
    assert time.monotonic() - begun < 5


def test_an_answer_that_is_too_long_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libiscsi, "_MOST", 1000)
    with pytest.raises(IscsiError, match="gives no sound answer"), session(monkeypatch, {"x": "x" * 5000}):
        pass


def test_a_secret_is_in_no_argument(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Any] = []
    popen = libiscsi.subprocess.Popen
    monkeypatch.setattr(
        libiscsi.subprocess, "Popen", lambda command, **more: started.append(command) or popen(command, **more)
    )
    with session(monkeypatch, {}):
        assert LOGIN.password not in json.dumps(started)


def test_a_name_that_nobody_knows() -> None:
    with pytest.raises(IscsiError, match=r"Can not resolve none\.invalid"):
        Session([], Login("none.invalid", 3260, "", "", "", "iqn.me", 0, 0), seconds=5)


def test_a_login_is_as_qemu_makes_it() -> None:
    login = login_of({"portal": "[2001:db8::1]", "target": "iqn.x", "transport": "tcp", "user": "u", "password": "p"})
    assert (login.host, login.port) == ("2001:db8::1", 3260)
    assert (login.initiator, login.header_digest) == ("iqn.2008-11.org.linux-kvm", 1)
    assert "password" not in repr(login)
    assert (
        login_of({"portal": "a:1", "target": "t", "transport": "iser", "initiator_name": "iqn.z"}).initiator == "iqn.z"
    )


def test_a_session_of_root_is_confined_to_the_portal(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Mock(**{"confined.side_effect": lambda allowed: [allowed]})
    cases = ((True, "tcp", ("192.0.2.9",)), (True, "iser", None), (False, "tcp", None))
    for root, transport, expected in cases:
        monkeypatch.setattr(lun_session.privileges, "is_root", lambda root=root: root)
        values = {"portal": "192.0.2.9:3260", "target": "iqn.x", "transport": transport}
        begin = lun_session._confined(values, bench)[-1]
        assert getattr(begin, "addresses", None) == expected
