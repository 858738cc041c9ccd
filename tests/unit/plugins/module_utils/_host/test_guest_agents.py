# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What guests say about themselves, and how long they are waited for."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._host import guest_agents, running, systemd
from ansible_collections.directdisk.qemu.plugins.module_utils._units import paths
from ansible_collections.directdisk.qemu.tests.unit.fake_guest_agent import FakeGuestAgent
from ansible_collections.directdisk.qemu.tests.unit.real_parts import guest_agent, needs_guest_agent

ANSWERS: dict[str, Any] = {
    "guest-info": {"version": "10.0.2", "supported_commands": []},
    "guest-get-host-name": {"host-name": "web1.example.net"},
    "guest-get-osinfo": {
        **{"id": "debian", "pretty-name": "Debian GNU/Linux 13 (trixie)", "name": "Debian GNU/Linux"},
        **{"version-id": "13", "kernel-release": "6.12.41", "machine": "x86_64"},
    },
    "guest-network-get-interfaces": [
        {"name": "lo", "ip-addresses": [{"ip-address": "127.0.0.1", "prefix": 8, "ip-address-type": "ipv4"}]},
        {"name": "enp1s0", "hardware-address": "52:54:00:12:34:56"},
    ],
}
NOTHING = {"id": "", "name": "", "version": "", "kernel": "", "machine": ""}


@pytest.fixture(autouse=True)
def _sockets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "agent_socket", lambda vm: str(tmp_path / vm))


def test_a_guest_says_what_it_is(tmp_path: Path) -> None:
    with FakeGuestAgent(tmp_path / "web1", ANSWERS):
        assert guest_agents.observe(["web1"]) == {
            "web1": {
                "problem": "",
                "version": "10.0.2",
                "host_name": "web1.example.net",
                "os": {
                    "id": "debian",
                    "name": "Debian GNU/Linux 13 (trixie)",
                    "version": "13",
                    "kernel": "6.12.41",
                    "machine": "x86_64",
                },
                "interfaces": [
                    {"name": "lo", "mac": "", "addresses": ["127.0.0.1/8"]},
                    {"name": "enp1s0", "mac": "52:54:00:12:34:56", "addresses": []},
                ],
            }
        }


@needs_guest_agent
def test_a_real_agent_says_what_its_machine_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with guest_agent(tmp_path) as path:
        monkeypatch.setattr(paths, "agent_socket", lambda _vm: path)
        info = guest_agents.observe(["web1"])["web1"]
    assert (info["problem"], info["host_name"], info["os"]["kernel"]) == ("", os.uname().nodename, os.uname().release)
    assert "127.0.0.1/8" in [address for one in info["interfaces"] for address in one["addresses"]]
    assert shutil.which("qemu-ga") and info["version"][0].isdigit()


REFUSED = {"error": {"class": "CommandNotFound", "desc": "The command has been disabled for this instance"}}


def test_what_a_guest_does_not_allow_is_empty(tmp_path: Path) -> None:
    refused = dict.fromkeys(("guest-get-osinfo", "guest-get-host-name", "guest-network-get-interfaces"), REFUSED)
    with FakeGuestAgent(tmp_path / "web1", {**ANSWERS, **refused}):
        info = guest_agents.observe(["web1"])["web1"]
    assert info == {"problem": "", "version": "10.0.2", "host_name": "", "os": NOTHING, "interfaces": []}


@pytest.mark.parametrize(
    "answer", [None, [], {}, 7, "x", [None], [{"name": 1, "ip-addresses": {"a": 1}}], {"version": ["x"]}], ids=repr
)
def test_answers_of_other_types_are_no_problem(tmp_path: Path, answer: Any) -> None:
    with FakeGuestAgent(tmp_path / "web1", dict.fromkeys(ANSWERS, answer)):
        info = guest_agents.observe(["web1"])["web1"]
    assert (info["problem"], info["version"], info["os"]) == ("", "", NOTHING)
    assert all(one == {"name": "", "mac": "", "addresses": []} for one in info["interfaces"])


def test_an_agent_that_is_lost_while_it_answers_is_told(tmp_path: Path) -> None:
    with FakeGuestAgent(tmp_path / "web1", {**ANSWERS, "guest-get-host-name": b"not json\n"}):
        info = guest_agents.observe(["web1"])["web1"]
    assert info["problem"].startswith("vm web1: guest agent: ")
    assert (info["version"], info["interfaces"]) == ("10.0.2", [])


def test_a_host_without_agents_has_no_answers() -> None:
    assert guest_agents.observe([]) == {}


def test_a_guest_cannot_tell_a_novel(tmp_path: Path) -> None:
    many = [{"name": "n" * 500, "ip-addresses": [{"ip-address": "1"}] * 70}] * 70
    with FakeGuestAgent(tmp_path / "web1", {**ANSWERS, "guest-network-get-interfaces": many}):
        interfaces = guest_agents.observe(["web1"])["web1"]["interfaces"]
    assert (len(interfaces), len(interfaces[0]["name"]), len(interfaces[0]["addresses"])) == (64, 200, 64)


def test_agents_that_do_not_answer_are_waited_for_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guest_agents, "SECONDS", 0.5)
    names = [f"vm{number}" for number in range(30)]
    with contextlib.ExitStack() as stack:
        for name in names[:-1]:
            stack.enter_context(FakeGuestAgent(tmp_path / name, sync=lambda _number: b""))
        stack.enter_context(FakeGuestAgent(tmp_path / names[-1], ANSWERS))
        start = time.monotonic()
        found = guest_agents.observe(names)
        seconds = time.monotonic() - start
    problems = [found[name]["problem"] for name in names]
    assert problems[-1] == "" and found[names[-1]]["version"] == "10.0.2"
    assert all(problem.startswith(f"vm {name}: guest agent: does not") for name, problem in zip(names[:-1], problems))
    assert seconds < 2.5


def test_only_agents_of_running_vms_with_the_option_are_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    argument = "-chardev socket,id=machine.agent,path={},server=on,wait=off \\\n"
    for name in ("web1", "off", "without"):
        text = argument.format(tmp_path / name) if name != "without" else ""
        (tmp_path / f"qemu-vm-{name}.service").write_text(text)
    monkeypatch.setattr(paths, "UNIT_DIRECTORY", str(tmp_path))
    states = {"web1": "active", "off": "inactive", "without": "active"}
    rows = {paths.unit_name(name): {"active": active, "enabled": False} for name, active in states.items()}
    monkeypatch.setattr(systemd, "states", lambda units: {unit: {**rows[unit], "invocation": ""} for unit in units})
    monkeypatch.setattr(paths, "qmp_socket", lambda vm: str(tmp_path / "none"))
    with FakeGuestAgent(tmp_path / "web1", ANSWERS):
        found = running.vms()
    assert {name: info.get("agent", {}).get("version") for name, info in found.items()} == {
        **{"web1": "10.0.2", "off": None, "without": None}
    }
