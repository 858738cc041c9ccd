# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The client of guest agents, with a real agent and with hostile ones."""

from __future__ import annotations

import base64
import errno
import itertools
import json
import os
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._clients.guest_agent import GuestAgent
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import GuestAgentError
from ansible_collections.directdisk.qemu.plugins.module_utils._programs import vms_resume
from ansible_collections.directdisk.qemu.tests.unit.fake_guest_agent import FakeGuestAgent, answer_to_sync
from ansible_collections.directdisk.qemu.tests.unit.real_parts import guest_agent, needs_guest_agent


def connect(path: str | Path, seconds: float = 5) -> GuestAgent:
    return GuestAgent.connect("web1", str(path), deadline=time.monotonic() + seconds)


@needs_guest_agent
def test_a_real_agent_answers_and_forgets_half_a_request(tmp_path: Path) -> None:
    with guest_agent(tmp_path) as path:
        with connect(path) as agent:
            agent._connection.sendall(b'{"execute": "guest-in')
        with connect(path) as agent:
            assert agent.execute("guest-get-host-name") == {"host-name": os.uname().nodename}
            handle = agent.execute("guest-file-open", {"path": str(tmp_path / "a"), "mode": "w"})
            data = base64.b64encode(b"x" * 100_000).decode()
            assert agent.execute("guest-file-write", {"handle": handle, "buf-b64": data})["count"] == 100_000
            agent.execute("guest-file-close", {"handle": handle})
            with pytest.raises(GuestAgentError, match=r"^vm web1: guest agent: guest-file-close: .*handle"):
                agent.execute("guest-file-close", {"handle": handle})
            assert agent.execute("guest-ping") == {}
    assert (tmp_path / "a").stat().st_size == 100_000


def test_late_answers_to_an_earlier_session_are_skipped(tmp_path: Path) -> None:
    late = b'st of an answer"}\n{"return": 7}\n' + answer_to_sync(1) + b'{"return": "' + b"x" * 2_000_000 + b'"}\n'
    with (
        FakeGuestAgent(tmp_path / "s", {"guest-ping": 5}, sync=lambda number: late + answer_to_sync(number)) as fake,
        connect(fake.path) as agent,
    ):
        assert agent.execute("guest-ping") == 5


def test_an_agent_that_only_root_or_another_client_may_use_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_path: str, _seconds: float) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    def wait(_path: str, _seconds: float) -> None:
        raise TimeoutError("other clients hold it")

    for listener, problem in ((refuse, "permission denied: only root may connect"), (wait, "other clients hold it")):
        monkeypatch.setattr(vms_resume, "connect", listener)
        with pytest.raises(GuestAgentError, match=rf"/a: {problem}"):
            connect(tmp_path / "a")


def test_a_vm_that_ends_is_not_waited_for(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "a"))
        listener.listen()

        def end() -> None:
            with listener.accept()[0] as connection:
                connection.recv(4096)

        vm = threading.Thread(target=end)
        vm.start()
        with pytest.raises(GuestAgentError, match=r"^vm web1: guest agent: its VM has ended$"):
            connect(tmp_path / "a", seconds=30)
        vm.join()


def test_an_agent_that_does_not_answer_is_an_error_of_its_vm(tmp_path: Path) -> None:
    with FakeGuestAgent(tmp_path / "s", sync=lambda _number: b"") as fake:
        start = time.monotonic()
        with pytest.raises(GuestAgentError, match=r"^vm web1: guest agent: does not answer: is the guest up"):
            connect(fake.path, 0.3)
        assert time.monotonic() - start < 2
    with pytest.raises(GuestAgentError, match=r"^vm web1: guest agent: .*/none is missing: the VM does not run"):
        connect(tmp_path / "none")
    with pytest.raises(GuestAgentError, match="no time left"):
        connect(fake.path, 0)


FLOODS = {
    "nothing but sentinels": lambda _number: b"\xff\n" * 500_000,
    "wrong ids": lambda number: answer_to_sync(number + 1) * 1000,
    "other things than numbers": lambda _number: b'\xff{"return": null}\n\xff[]\n\xff1\n\xff"a"\n\xff{\n',
}


@pytest.mark.parametrize("sync", FLOODS.values(), ids=FLOODS)
def test_no_session_begins_with_an_agent_that_does_not_know_the_id(tmp_path: Path, sync: Any) -> None:
    with FakeGuestAgent(tmp_path / "s", sync=sync) as fake:
        start = time.monotonic()
        with pytest.raises(GuestAgentError, match=r"^vm web1: guest agent: does not answer"):
            connect(fake.path, 0.5)
        assert time.monotonic() - start < 3


HOSTILE = {
    "endless text": (lambda: (b"A" * 65536 for _number in itertools.count()), "its answer is longer than 262144 bytes"),
    "deep nesting": (lambda: b"[" * 200_000 + b"\n", "does not answer as a guest agent does"),
    "a long number": (lambda: b'{"return": ' + b"9" * 200_000 + b"}\n", "does not answer as a guest agent does"),
    "a list": (lambda: b"[1]\n", "does not answer as a guest agent does"),
    "not even JSON": (lambda: b"\x00\x1b[2J\n", "does not answer as a guest agent does"),
    "an error of a strange kind": (lambda: b'{"error": [1]}\n', r"guest-ping: {'error': \[1\]}"),
    "control characters": (lambda: b'{"error": {"desc": "\\u001b[2J"}}\n', r"guest-ping: \\x1b\[2J$"),
    "a long message": (lambda: json.dumps({"error": {"desc": "m" * 200_000}}).encode() + b"\n", "guest-ping: m{1000}$"),
    "neither value nor error": (lambda: b"{}\n", "guest-ping: {}"),
}


@pytest.mark.parametrize(("answer", "problem"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_agent_costs_an_error_alone(tmp_path: Path, answer: Any, problem: str) -> None:
    with FakeGuestAgent(tmp_path / "s", {"guest-ping": lambda _arguments: answer()}) as fake:
        start = time.monotonic()
        with connect(fake.path) as agent, pytest.raises(GuestAgentError, match=f"^vm web1: guest agent: {problem}"):
            agent.execute("guest-ping")
        assert time.monotonic() - start < 5


def test_no_answer_is_read_after_one_that_was_lost(tmp_path: Path) -> None:
    """It could be the late answer to the command before."""
    with FakeGuestAgent(tmp_path / "s", {"guest-ping": b""}) as fake, connect(fake.path, 0.3) as agent:
        with pytest.raises(GuestAgentError, match="does not answer"):
            agent.execute("guest-ping")
        agent.allow(5)
        with pytest.raises(GuestAgentError, match="guest-info: does not answer"):
            agent.execute("guest-info")
        assert [command for command, _arguments in fake.heard] == ["guest-ping"]
