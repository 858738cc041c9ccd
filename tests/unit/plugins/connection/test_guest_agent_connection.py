# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The connection plugin guest_agent, through a hypervisor that is this machine."""

from __future__ import annotations

import base64
import itertools
import json
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleConnectionFailure, AnsibleError, AnsibleFileNotFound
from ansible.playbook.play_context import PlayContext
from ansible.plugins.loader import connection_loader

from ansible_collections.directdisk.qemu.plugins.connection import guest_agent as plugin
from ansible_collections.directdisk.qemu.plugins.module_utils._host import guest_agent_call
from ansible_collections.directdisk.qemu.plugins.module_utils._units import paths
from ansible_collections.directdisk.qemu.tests.unit.fake_guest_agent import FakeGuestAgent
from ansible_collections.directdisk.qemu.tests.unit.real_parts import guest_agent, needs_guest_agent

LOCAL = {"ansible_connection": "ansible.builtin.local", "ansible_become": False}
Open = Callable[..., Any]


@pytest.fixture(name="open_guest")
def make_open_guest(monkeypatch: pytest.MonkeyPatch) -> Open:
    """Opens a connection to the guest whose agent listens on a socket."""

    def opened(socket: str | Path, variables: dict[str, Any] | None = None, **options: Any) -> Any:
        monkeypatch.setattr(paths, "agent_socket", lambda _vm: str(socket))
        connection = connection_loader.get("directdisk.qemu.guest_agent", PlayContext())
        given = {f"ansible_guest_agent_{name}": value for name, value in options.items()}
        connection.set_options(
            var_options={
                "inventory_hostname": "web1",
                "ansible_guest_agent_hypervisor": "hv1",
                "ansible_guest_agent_hypervisor_variables": variables or LOCAL,
                **given,
            }
        )
        return connection

    return opened


@pytest.fixture(name="guest")
def make_guest(tmp_path: Path, open_guest: Open) -> Iterator[Any]:
    """A connection to a real agent."""
    with guest_agent(tmp_path) as path:
        yield open_guest(path)


@needs_guest_agent
def test_commands_run_with_input_output_and_exit_status(guest: Any) -> None:
    assert guest.exec_command("echo out; echo err >&2; exit 7") == (7, b"out\n", b"err\n")
    assert guest.exec_command("cat; echo $HOME", in_data=b"\x00\xff\n" * 100_000) == (
        0,
        b"\x00\xff\n" * 100_000 + b"/root\n",
        b"",
    )
    assert guest.exec_command("kill -9 $$")[0] == 137
    assert guest.exec_command("sleep 1.3; echo late") == (0, b"late\n", b"")


@needs_guest_agent
def test_output_that_the_agent_has_cut_is_an_error(guest: Any) -> None:
    with pytest.raises(AnsibleError, match=r"wrote more than its guest agent keeps"):
        guest.exec_command("head -c 17000000 /dev/zero")
    assert guest.exec_command("head -c 16000000 /dev/zero")[1] == bytes(16_000_000)


@needs_guest_agent
@pytest.mark.parametrize("size", [0, 3_000_001])
def test_files_of_any_size_go_in_and_out(
    guest: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(plugin, "PIECE", 1_000_000)
    monkeypatch.setattr(guest_agent_call, "PIECE", 300_000)
    content = os.urandom(size)
    local, inside, back = tmp_path / "local", tmp_path / "a 'dir'" / "-inside", tmp_path / "back"
    local.write_bytes(content)
    inside.parent.mkdir()
    inside.write_text("replaced")
    guest.put_file(str(local), str(inside))
    guest.fetch_file(str(inside), str(back))
    assert inside.read_bytes() == back.read_bytes() == content
    assert stat.S_IMODE(inside.stat().st_mode) == 0o600
    assert [os.listdir(inside.parent), list(tmp_path.glob("*.part"))] == [["-inside"], []]


@needs_guest_agent
def test_a_file_that_cannot_be_copied_leaves_nothing_behind(guest: Any, tmp_path: Path) -> None:
    (tmp_path / "local").write_text("x")
    (tmp_path / "folder").mkdir()
    with pytest.raises(AnsibleError, match=r"^hypervisor hv1: vm web1: .*/folder: .*folder is a directory$"):
        guest.put_file(str(tmp_path / "local"), str(tmp_path / "folder"))
    with pytest.raises(AnsibleError, match=r"/none/a: .*No such file|/none/a: .*nonexistent"):
        guest.put_file(str(tmp_path / "local"), str(tmp_path / "none" / "a"))
    with pytest.raises(AnsibleError, match=r"guest-file-open: .*No such file"):
        guest.fetch_file(str(tmp_path / "none"), str(tmp_path / "back"))
    with pytest.raises(AnsibleFileNotFound):
        guest.put_file(str(tmp_path / "none"), str(tmp_path / "x"))
    with pytest.raises(AnsibleError, match=r"is not an absolute path"):
        guest.fetch_file("a", str(tmp_path / "back"))
    assert not (tmp_path / "back").exists()
    assert [*tmp_path.glob("**/*.part"), *tmp_path.glob("**/.*.part")] == []


@needs_guest_agent
def test_no_more_handles_are_open_after_errors(guest: Any, tmp_path: Path) -> None:
    """An agent has a limited number of them."""
    with pytest.raises(AnsibleError, match=r"guest-file-read: .*[Dd]irectory"):
        guest.fetch_file(str(tmp_path), str(tmp_path / "back"))
    found = guest.exec_command(f"ls -l /proc/$PPID/fd | grep -c ' {tmp_path}$'")
    assert found[:2] == (1, b"0\n")


def exited(**more: Any) -> dict[str, Any]:
    return {"guest-exec": {"pid": 1}, "guest-exec-status": {"exited": True, "exitcode": 0, **more}}


HOSTILE: dict[str, tuple[dict[str, Any], str]] = {
    "no pid": ({"guest-exec": {}}, "guest-exec: does not answer as"),
    "a pid of another type": ({"guest-exec": {"pid": True}}, "guest-exec: does not answer as"),
    "no exit status": ({"guest-exec": {"pid": 1}, "guest-exec-status": {"exited": 1}}, "guest-exec-status: does not"),
    "a list": ({"guest-exec": {"pid": 1}, "guest-exec-status": [1]}, "guest-exec-status: does not answer as"),
    "no base64": (exited(**{"out-data": "%"}), "guest-exec-status: does not answer as"),
    "no text": (exited(**{"err-data": [1]}), "guest-exec-status: does not answer as"),
    "cut errors": (exited(**{"err-truncated": True}), "wrote more than its guest agent keeps"),
    "disabled": ({"guest-exec": {"error": {"desc": "guest-exec has been \x1b[2J disabled"}}}, r"been \\x1b\[2J dis"),
    "endless output": (
        {"guest-exec": {"pid": 1}, "guest-exec-status": lambda _one: (b"A" * (1 << 20) for _n in itertools.count())},
        "its answer is longer than 47185920 bytes",
    ),
}


@pytest.mark.parametrize(("answers", "problem"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_guest_costs_an_error_alone(
    tmp_path: Path, open_guest: Open, answers: dict[str, Any], problem: str
) -> None:
    with (
        FakeGuestAgent(tmp_path / "s", answers) as fake,
        pytest.raises(AnsibleError, match=rf"^hypervisor hv1: vm web1: .*{problem}"),
    ):
        open_guest(fake.path).exec_command("true")


def test_the_end_of_a_started_command_is_not_guessed(tmp_path: Path, open_guest: Open) -> None:
    gone = {"guest-exec": {"pid": 1}, "guest-exec-status": {"error": {"desc": "Invalid parameter 'pid'"}}}
    with (
        FakeGuestAgent(tmp_path / "s", gone) as fake,
        pytest.raises(AnsibleConnectionFailure, match=r"the command was started, and its end is not known"),
    ):
        open_guest(fake.path).exec_command("reboot")


def test_handles_are_closed_when_a_write_fails_and_the_part_is_removed(tmp_path: Path, open_guest: Open) -> None:
    (tmp_path / "local").write_text("x")
    full = {"guest-file-open": 5, "guest-file-write": {"error": {"desc": "No space left on device"}}}
    with (
        FakeGuestAgent(tmp_path / "s", {**exited(), **full}) as fake,
        pytest.raises(AnsibleError, match=r"guest-file-write: No space left on device"),
    ):
        open_guest(fake.path).put_file(str(tmp_path / "local"), "/x/y")
    assert ("guest-file-close", {"handle": 5}) in fake.heard
    scripts = [arguments["arg"] for command, arguments in fake.heard if command == "guest-exec"]
    assert [script[1].split()[0] for script in scripts] == ["umask", "rm"]
    assert scripts[0][3] == scripts[1][3] and scripts[0][3].startswith("/x/.y.")


@pytest.mark.parametrize("answer", [[], {"count": 0}, {"count": "7"}, {"count": 1 << 40}], ids=str)
def test_a_count_of_written_bytes_is_not_believed(tmp_path: Path, open_guest: Open, answer: Any) -> None:
    (tmp_path / "local").write_text("x")
    with (
        FakeGuestAgent(tmp_path / "s", {**exited(), "guest-file-open": 5, "guest-file-write": answer}) as fake,
        pytest.raises(AnsibleError, match=r"guest-file-write: does not answer as"),
    ):
        open_guest(fake.path).put_file(str(tmp_path / "local"), "/x/y")


@pytest.mark.parametrize("answer", [[], {"buf-b64": 7}, {"buf-b64": base64.b64encode(bytes(2 << 19) + b"x").decode()}])
def test_what_is_read_is_no_more_than_was_asked_for(tmp_path: Path, open_guest: Open, answer: Any) -> None:
    with (
        FakeGuestAgent(tmp_path / "s", {"guest-file-open": 5, "guest-file-read": answer}) as fake,
        pytest.raises(AnsibleError, match=r"guest-file-read: does not answer as"),
    ):
        open_guest(fake.path).fetch_file("/x", str(tmp_path / "back"))
    assert fake.heard[-1] == ("guest-file-close", {"handle": 5})
    assert not list(tmp_path.glob("back*"))


def test_a_guest_that_is_not_up_is_unreachable(tmp_path: Path, open_guest: Open) -> None:
    with (
        FakeGuestAgent(tmp_path / "s", sync=lambda _number: b"") as fake,
        pytest.raises(AnsibleConnectionFailure, match=r"^hypervisor hv1: vm web1: guest agent: does not answer"),
    ):
        open_guest(fake.path, timeout=1).exec_command("true")
    with pytest.raises(AnsibleConnectionFailure, match=r"/none is missing: the VM does not run"):
        open_guest(tmp_path / "none").exec_command("true")


def test_a_hypervisor_that_cannot_run_the_program_is_unreachable(tmp_path: Path, open_guest: Open) -> None:
    guest = open_guest(tmp_path / "s", {**LOCAL, "ansible_python_interpreter": "/none/python3"})
    with pytest.raises(AnsibleConnectionFailure, match=r"^hypervisor hv1: vm web1: exit status 127: .*/none/python3"):
        guest.exec_command("true")


def test_a_name_that_is_no_vm_is_refused(tmp_path: Path, open_guest: Open) -> None:
    with pytest.raises(AnsibleError, match=r"'../x' is not the name of a VM: set ansible_guest_agent_vm"):
        open_guest(tmp_path / "s", vm="../x").exec_command("true")


class RecordedHypervisor:
    """A double of a connection plugin that records commands and answers with noise before the marker."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer
        self.command = self.marker = ""
        self.become: Any = None

    def exec_command(self, command: str, in_data: bytes, sudoable: bool) -> tuple[int, bytes, bytes]:
        self.command = command
        line = in_data.split(b"\n", 1)[1][int(in_data.split(b"\n", 1)[0]) :].split(b"\n", 1)[0]
        self.marker = json.loads(line)["marker"]
        return 0, b"Welcome!\nBECOME-SUCCESS\n" + self.marker.encode() + self.answer, b""


def test_what_a_login_shell_writes_first_is_skipped_and_a_short_answer_noticed(
    tmp_path: Path, open_guest: Open
) -> None:
    guest = open_guest(tmp_path / "s")
    guest._connect()
    guest._hypervisor = RecordedHypervisor(b'{"code": 3, "sizes": [2, 1]}\nabc')
    assert guest.exec_command("true") == (3, b"ab", b"c")
    for other in (b"ab", b"abcd"):
        guest._hypervisor = RecordedHypervisor(b'{"code": 3, "sizes": [2, 1]}\n' + other)
        with pytest.raises(AnsibleConnectionFailure, match=r"broke off"):
            guest.exec_command("true")


@pytest.mark.parametrize(
    ("output", "errors", "words"),
    [
        (b"lost\n", b"", "lost"),
        (b"noise", b"no\x1b[2J\nroute", "no\\x1b[2J\nroute"),
        (b"", b"a" * 9000 + b"end", "a" * (plugin._LONGEST_MESSAGE - 3) + "end"),
    ],
    ids=["on its output", "with control characters", "long"],
)
def test_what_a_hypervisor_says_of_its_failure_is_told(
    tmp_path: Path, open_guest: Open, monkeypatch: pytest.MonkeyPatch, output: bytes, errors: bytes, words: str
) -> None:
    guest = open_guest(tmp_path / "s")
    monkeypatch.setattr(plugin.hypervisor, "run", lambda *_: (255, output, errors))
    with pytest.raises(AnsibleConnectionFailure) as error:
        guest.exec_command("true")
    assert str(error.value) == f"hypervisor hv1: vm web1: exit status 255: {words}"


def test_a_file_that_shrinks_while_it_is_copied_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size = 1 << 16
    monkeypatch.setattr(plugin, "PIECE", size)
    path = tmp_path / "file"
    path.write_bytes(bytes(2 * size))
    assert list(plugin._pieces(str(path))) == [(0, bytes(size), False), (size, bytes(size), True)]
    pieces = plugin._pieces(str(path))
    assert next(pieces) == (0, bytes(size), False)
    os.truncate(path, size)
    assert list(pieces) == [(size, b"", True)]


def test_the_hypervisor_is_reached_as_its_variables_say(tmp_path: Path, open_guest: Open) -> None:
    variables = {
        "ansible_host": "192.0.2.1",
        "ansible_user": "admin",
        "ansible_port": 2222,
        "ansible_ssh_private_key_file": "/key",
        "ansible_become_password": "s3cret",
        "ansible_become_user": "nobody",
    }
    guest = open_guest(tmp_path / "s", variables)
    guest._connect()
    ssh = guest._hypervisor
    options = {name: ssh.get_option(name) for name in ("host", "remote_user", "port", "private_key_file")}
    assert options == {"host": "192.0.2.1", "remote_user": "admin", "port": 2222, "private_key_file": "/key"}
    assert (ssh.become.name, ssh.become.get_option("become_user")) == ("sudo", "root")
    assert ssh.become.get_option("become_pass") == "s3cret"
    guest.close()
    assert guest._hypervisor is None


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"ansible_connection": "local", "ansible_become_method": "xyzzy"}, "there is no become plugin xyzzy"),
        ({"ansible_connection": "xyzzy"}, "there is no connection plugin xyzzy"),
    ],
)
def test_a_hypervisor_without_its_plugins_is_named(
    tmp_path: Path, open_guest: Open, variables: dict[str, Any], message: str
) -> None:
    with pytest.raises(AnsibleError, match=f"^hypervisor hv1: {message}"):
        open_guest(tmp_path / "s", variables).exec_command("true")


def test_only_absolute_paths_are_files_of_the_guest(tmp_path: Path, open_guest: Open) -> None:
    guest = open_guest(tmp_path / "s")
    (tmp_path / "a").write_bytes(b"a")
    for copy in (guest.put_file, lambda here, there: guest.fetch_file(there, here)):
        with pytest.raises(AnsibleError, match=r"^b: is not an absolute path in the guest"):
            copy(str(tmp_path / "a"), "b")


def test_what_a_guest_writes_cannot_pass_for_an_answer(tmp_path: Path, open_guest: Open) -> None:
    """The marker before an answer is another one each time; a problem is shown without control characters."""
    guest = open_guest(tmp_path / "s")
    guest._connect()
    markers = set()
    for _twice in range(2):
        guest._hypervisor = RecordedHypervisor(b'{"problem": "\\u001b[31mred", "unreachable": false}\n')
        with pytest.raises(AnsibleError, match=r"^hypervisor hv1: .*red$") as caught:
            guest.exec_command("true")
        assert not isinstance(caught.value, AnsibleConnectionFailure)
        assert "\x1b" not in str(caught.value)
        markers.add(guest._hypervisor.marker)
    assert len(markers) == 2
