# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The program that asks storage who has it open, with programs beside it that answer as they are told to."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._process.run import text_of
from ansible_collections.directdisk.qemu.plugins.module_utils._programs import storage_owner
from ansible_collections.directdisk.qemu.tests.unit.fake_qmp import FakeQemu

ANSWERS = """
import json, os, sys, time
checks = json.load(sys.stdin)
with open({calls!r}, "a") as calls:
    calls.write(json.dumps([check["image"] for check in checks]) + "\\n")
with open({calls!r} + ".take", "a") as taken:
    taken.write(json.dumps([check.get("take") for check in checks]) + "\\n")
for check in checks:
    if check["image"] == "hangs":
        time.sleep(60)
    if check["image"] == "floods":
        while True:
            print("x" * 65536)
    if check["image"] == "crashes":
        os.kill(os.getpid(), 9)
    if check["image"] == "fails":
        sys.exit("noise\\nerror connecting: Permission denied")
    if check["image"] == "unable":
        print("no librbd", file=sys.stderr)
        sys.exit(69)
    with open(check["says"]) as answers:
        lines = answers.read().splitlines()
    print(lines[0], flush=True)
    if lines[1:]:
        with open(check["says"], "w") as answers:
            answers.write("\\n".join(lines[1:]))
"""
THERE = {"name": "open by client.1 at 192.0.2.9", "advice": "stop it", "here": False}
HERE = {"name": "open by client.2 at 192.0.2.1", "advice": "stop it here", "here": True}


class Clock:
    """Time that passes only while somebody sleeps or asks."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The program's clock; a question takes half a second, and is answered without another process."""
    clock = Clock()

    def answers(check: storage_owner.Check) -> storage_owner.Answer:
        first, *later = Path(check["says"]).read_text(encoding="utf-8").splitlines()
        Path(check["says"]).write_text("\n".join(later or [first]), encoding="utf-8")
        return dict(json.loads(first))

    def ask(checks: Sequence[storage_owner.Check], seconds: float) -> list[storage_owner.Answer]:
        clock.sleep(0.5)
        return [answers(check) for check in checks]

    monkeypatch.setattr(storage_owner, "ask", ask)
    monkeypatch.setattr(storage_owner, "time", clock)
    return clock


class Storage:
    """Checks of images, and what is answered to each question about one; the last answer stays."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._calls = folder / "calls"
        self._taken = folder / "calls.take"

    def image(self, name: str, *answers: Sequence[dict[str, Any]], **facts: str) -> dict[str, Any]:
        says = self._folder / f"{name}.says"
        says.write_text("\n".join(json.dumps({"owners": owners}) for owners in answers), encoding="utf-8")
        return {
            "disk": f"disk {name} of web1: rbd vms/{name}",
            "kind": "rbd",
            "image": name,
            "says": str(says),
            **facts,
        }

    @property
    def taken(self) -> list[list[Any]]:
        """The members take of the checks of each call."""
        return [json.loads(line) for line in self._taken.read_text(encoding="utf-8").splitlines()]

    @property
    def calls(self) -> list[list[str]]:
        return [json.loads(line) for line in self._calls.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Storage:
    (tmp_path / "qemu-vm-owner.py").write_text(text_of(storage_owner), encoding="utf-8")
    program = ANSWERS.format(calls=str(tmp_path / "calls"))
    (tmp_path / "qemu-vm-owner-rbd.py").write_text(program, encoding="utf-8")
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "qemu-vm-owner.py")])
    monkeypatch.setattr(storage_owner, "become_like", lambda pid: None)
    monkeypatch.setenv("MAINPID", "1")
    return Storage(tmp_path)


def test_storage_that_nobody_has_open_may_be_opened(storage: Storage) -> None:
    assert storage_owner.look(5, [storage.image("root", []), storage.image("data", [])]) == ""


def test_an_owner_is_named_with_what_to_do(storage: Storage, clock: Clock) -> None:
    checks = [storage.image("root", []), storage.image("data", [THERE, THERE, HERE])]
    assert storage_owner.look(5, checks) == (
        "disk data of web1: rbd vms/data is open by client.1 at 192.0.2.9 and open by client.2 at 192.0.2.1; stop it"
    )
    assert clock.now <= storage_owner.PASSING + 0.5


def test_a_client_that_only_passes_by_is_waited_for(storage: Storage, clock: Clock) -> None:
    assert storage_owner.look(5, [storage.image("root", [THERE], [])]) == ""


def test_a_client_of_this_host_that_was_killed_is_waited_for_longer(storage: Storage, clock: Clock) -> None:
    assert storage_owner.look(30, [storage.image("root", *[[HERE]] * 9, [])]) == ""
    assert clock.now > storage_owner.PASSING
    # But not for longer than a start may take.
    clock.now = 0
    assert storage_owner.look(10, [storage.image("root", [HERE])])
    assert storage_owner.PASSING < clock.now <= 10.5


@pytest.mark.parametrize("image", ["fails", "crashes", "unable"])
def test_an_error_is_left_to_qemu_before_the_start(storage: Storage, image: str) -> None:
    assert storage_owner.look(5, [storage.image(image)]) == ""


def test_the_guest_runs_where_qemu_alone_has_the_storage_open(storage: Storage, tmp_path: Path) -> None:
    with FakeQemu(tmp_path / "s") as qemu:
        assert storage_owner.release(5, qemu.path, [storage.image("root", [HERE])]) == ""
    assert qemu.heard == ["qmp_capabilities", "cont"]


@pytest.mark.parametrize("owners", [[HERE, THERE], [THERE, HERE], [HERE, HERE]])
def test_no_guest_runs_beside_another_client(
    storage: Storage, clock: Clock, tmp_path: Path, owners: list[dict[str, Any]]
) -> None:
    with FakeQemu(tmp_path / "s") as qemu:
        words = storage_owner.release(30, qemu.path, [storage.image("free", [HERE]), storage.image("root", owners)])
    other = THERE if THERE in owners else HERE
    assert words == f"disk root of web1: rbd vms/root is {other['name']}; {other['advice']}"
    assert qemu.heard == []
    # Whoever came first waits for the other one to make room, which it does at once.
    assert clock.now <= (storage_owner.RIVALS[1] + 0.5 if owners[0] is HERE else 0.5)


def test_a_rival_that_came_second_makes_room(storage: Storage, clock: Clock, tmp_path: Path) -> None:
    with FakeQemu(tmp_path / "s") as qemu:
        assert storage_owner.release(30, qemu.path, [storage.image("root", *[[HERE, THERE]] * 3, [HERE])]) == ""
    assert qemu.heard == ["qmp_capabilities", "cont"]


@pytest.mark.parametrize(
    ("image", "why"),
    [
        ("fails", "error connecting: Permission denied"),
        ("crashes", "it crashed (-9)"),
        ("floods", f"it answers with more than {storage_owner.MOST} bytes"),
    ],
)
def test_no_guest_runs_on_storage_that_does_not_say_who_has_it(
    storage: Storage, tmp_path: Path, image: str, why: str
) -> None:
    with FakeQemu(tmp_path / "s") as qemu:
        words = storage_owner.release(5, qemu.path, [storage.image(image)])
    assert words == (
        f"disk {image} of web1: rbd vms/{image} does not report who has it open: {why}; the guest was not started"
    )
    assert qemu.heard == []


def test_a_guest_runs_where_the_host_has_no_means_to_ask(storage: Storage, tmp_path: Path) -> None:
    with FakeQemu(tmp_path / "s") as qemu:
        assert storage_owner.release(5, qemu.path, [storage.image("unable")]) == ""
    assert qemu.heard == ["qmp_capabilities", "cont"]


def test_a_vm_that_is_to_wait_for_a_person_goes_on_waiting(storage: Storage) -> None:
    assert storage_owner.release(5, "", [storage.image("root", [HERE])]) == ""


def test_a_qemu_that_does_not_go_on_has_not_started(storage: Storage, tmp_path: Path) -> None:
    with FakeQemu(tmp_path / "s", answers={"cont": {"error": {"desc": "it will not"}}}) as qemu:
        assert storage_owner.release(5, qemu.path, [storage.image("root", [HERE])]) == "it will not"
    with FakeQemu(tmp_path / "t", ends_on="cont") as qemu:
        assert storage_owner.release(5, qemu.path, [storage.image("root", [HERE])]) == "QEMU ended while it started"


@pytest.mark.parametrize("waiting", [0, 1])
def test_a_monitor_that_others_hold_is_waited_for(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waiting: int
) -> None:
    """QEMU serves one client at a time, and a queue that is full is no reason to give up."""
    checks = [storage.image("root", *[[HERE]] * 2)]
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as listener, contextlib.ExitStack() as held:
        listener.bind(path)
        listener.listen(0)
        for _client in range(waiting):
            held.enter_context(socket.socket(socket.AF_UNIX)).connect(path)
        monkeypatch.setattr(storage_owner, "MONITOR", 0.05)
        assert storage_owner.release(5, path, checks) == (
            "QEMU's monitor has not answered within 0.05 s: another client holds it; the guest was not started"
        )
        monkeypatch.setattr(storage_owner, "MONITOR", 10)

        def serve() -> None:
            listener.accept()[0].close()  # the client of before
            connection = held.enter_context(listener.accept()[0])
            connection.sendall(b'{"error": {"desc": "its turn"}}\n')

        later = threading.Timer(0.1, serve)
        later.start()
        assert storage_owner.release(5, path, checks) == "its turn"
        later.join()


def test_a_process_of_root_is_nobody_to_become(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(storage_owner.Failed, match="process 1 runs as root"):
        storage_owner.become_like("1")


def without_owners(answers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in answer.items() if name != "owners"} for answer in answers]


def test_a_storage_that_hangs_holds_nobody_up(storage: Storage) -> None:
    checks = [storage.image("hangs", monitor="a"), storage.image("root", [THERE], monitor="b")]
    begun = time.monotonic()
    answers = without_owners(storage_owner.report(2, checks))
    assert time.monotonic() - begun < 20
    assert answers == [
        {"in_use": "", "not_asked": "no answer within 2 s"},
        {"in_use": "is open by client.1 at 192.0.2.9; stop it", "not_asked": ""},
    ]


def test_a_program_that_fails_half_way_has_answered_the_first_checks(storage: Storage, tmp_path: Path) -> None:
    root = storage.image("root", [THERE])
    answers = without_owners(storage_owner.report(5, [root, {**storage.image("fails"), "says": root["says"]}]))
    assert answers == [
        {"in_use": "is open by client.1 at 192.0.2.9; stop it", "not_asked": ""},
        {"in_use": "", "not_asked": "error connecting: Permission denied"},
    ]


def test_one_connection_answers_for_the_images_of_one_cluster(storage: Storage, tmp_path: Path) -> None:
    for name, text in (("a.conf", "x"), ("b.conf", "x"), ("c.conf", "y")):
        (tmp_path / name).write_text(text, encoding="utf-8")
    root = storage.image("root", [])
    checks = [{**root, "image": one, "conf": str(tmp_path / f"{one}.conf")} for one in "abc"]
    storage_owner.report(5, checks)
    assert sorted(storage.calls) == [["a", "b"], ["c"]]


def test_a_number_among_the_facts_is_no_open_file(storage: Storage, tmp_path: Path) -> None:
    checks = [{**storage.image("root", []), "lun": lun} for lun in (0, 1, 2)]
    program = [sys.executable, "-IS", str(tmp_path / "qemu-vm-owner.py"), "report", "30"]
    done = subprocess.run(program, input=json.dumps(checks), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == [{"in_use": "", "not_asked": "", "owners": []}] * 3


@pytest.mark.parametrize(("result", "named"), [("exit-code", True), ("success", False)])
def test_owners_are_named_after_a_failure_only(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], result: str, named: bool
) -> None:
    monkeypatch.setenv("SERVICE_RESULT", result)
    assert storage_owner.main("name", 5, [json.dumps(storage.image("root", [THERE]))]) == ""
    line = "disk root of web1: rbd vms/root is open by client.1 at 192.0.2.9; stop it\n"
    assert capsys.readouterr().out == (line if named else "")


DEAD = {**THERE, "take": {"client": "client.1"}, "action": "blocklist client.1", "address": "192.0.2.9"}


def test_storage_is_taken_from_the_owners_that_were_named(storage: Storage) -> None:
    root = storage.image("root", [DEAD], [])
    (answer,) = storage_owner.take(5, [{**root, "take": [DEAD["take"]]}])
    assert (answer["in_use"], answer["not_asked"], answer["owners"]) == ("", "", [])
    assert storage.taken == [[[]], [[DEAD["take"]]]]


def test_nothing_is_taken_from_a_client_that_came_since(storage: Storage) -> None:
    other = {**DEAD, "name": "open by client.3 at 192.0.2.3", "take": {"client": "client.3"}}
    root = storage.image("root", [DEAD, other])
    (answer,) = storage_owner.take(5, [{**root, "take": [DEAD["take"]]}])
    assert "client.3" in answer["in_use"]
    assert storage.taken == [[[]], [[]]]


def test_nothing_is_taken_from_a_client_that_has_gone(storage: Storage) -> None:
    (answer,) = storage_owner.take(5, [{**storage.image("root", []), "take": [DEAD["take"]]}])
    assert answer["in_use"] == ""
    assert storage.taken == [[[]], [[]]]
