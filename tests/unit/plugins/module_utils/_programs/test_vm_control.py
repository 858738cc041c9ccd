# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The program with which a launch unit speaks to its QEMU, against a test double of QEMU."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._process.run import text_of
from ansible_collections.directdisk.qemu.plugins.module_utils._programs import vm_control
from ansible_collections.directdisk.qemu.tests.unit.fake_qmp import FakeQemu, FloodingMonitor

PROGRAM = text_of(vm_control)


RAW = {"node-name": "root.format", "image": {"format": "raw", "virtual-size": 512}}
CHECK: dict[str, Any] = {"images": {"root.format": None}, "overlays": [], "run": True}


def run(
    verb: str, path: str | Path, seconds: float = 5, *, main_pid: int | None = None, check: dict[str, Any] | None = None
) -> subprocess.CompletedProcess[str]:
    given = [json.dumps(check or CHECK)] if verb == "started" else []
    return subprocess.run(
        [sys.executable, "-IS", "-c", PROGRAM, verb, str(path), str(seconds), *given],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={"MAINPID": str(main_pid or os.getpid())},
    )


def test_a_vm_has_started_when_it_answers_a_command(tmp_path: Path) -> None:
    with FakeQemu(tmp_path / "s", answers={"query-named-block-nodes": [RAW]}) as qemu:
        done = run("started", qemu.path)
    assert (done.returncode, done.stderr) == (0, "")
    assert qemu.heard == ["qmp_capabilities", "query-named-block-nodes", "cont"]


def test_links_that_are_declared_down_are_down_before_the_guest_runs(tmp_path: Path) -> None:
    with FakeQemu(tmp_path / "s", answers={"query-named-block-nodes": [RAW]}) as qemu:
        done = run("started", qemu.path, check={**CHECK, "links_down": ["lan", "dmz"]})
    assert (done.returncode, done.stderr) == (0, "")
    assert qemu.heard == ["qmp_capabilities", "query-named-block-nodes", "set_link", "set_link", "cont"]


def test_a_guest_does_not_run_with_a_link_that_should_be_down(tmp_path: Path) -> None:
    refused = {"error": {"desc": "no such network"}}
    with FakeQemu(tmp_path / "s", answers={"query-named-block-nodes": [RAW], "set_link": refused}) as qemu:
        done = run("started", qemu.path, check={**CHECK, "links_down": ["lan"]})
    assert done.returncode == 1
    assert "network lan: its link stays up: no such network" in done.stderr
    assert "cont" not in qemu.heard


def qcow2(**image: Any) -> dict[str, Any]:
    return {"node-name": "root.format", "image": {"format": "qcow2", "virtual-size": 512, **image}}


def with_data_file() -> dict[str, Any]:
    return {"format-specific": {"type": "qcow2", "data": {"data-file": "/etc/shadow"}}}


BACKING = {"file": "base.qcow2", "format": "qcow2"}


def stands_on(name: str, **base: Any) -> dict[str, Any]:
    return qcow2(**{"backing-filename": name, "backing-image": {"format": "qcow2", "virtual-size": 512, **base}})


@pytest.mark.parametrize(
    ("node", "backing", "problem"),
    [
        (qcow2(**with_data_file()), None, "its data is in another file (/etc/shadow), as its header says"),
        (qcow2(**{"virtual-size": 0}), None, "the image is empty (0 bytes)"),
        (qcow2(**{"backing-filename": "/etc/shadow"}), None, "it stands on /etc/shadow, as its header says; flatten"),
        (qcow2(), BACKING, "it stands on nothing, and base.qcow2 (qcow2) is declared as backing"),
        (stands_on("/etc/shadow"), BACKING, "it stands on /etc/shadow (qcow2), and base.qcow2 (qcow2) is declared"),
        (stands_on("base.qcow2", format="raw"), BACKING, "it stands on base.qcow2 (raw), and base.qcow2 (qcow2)"),
        (
            stands_on("base.qcow2", **{"backing-filename": "/etc/shadow"}),
            BACKING,
            "its backing file base.qcow2: it stands on /etc/shadow, as its header says",
        ),
        (stands_on("base.qcow2", **with_data_file()), BACKING, "its backing file base.qcow2: its data is in"),
    ],
)
def test_a_guest_does_not_run_on_what_a_header_has_opened(
    tmp_path: Path, node: dict[str, Any], backing: dict[str, str] | None, problem: str
) -> None:
    with FakeQemu(tmp_path / "s", answers={"query-named-block-nodes": [node]}) as qemu:
        done = run("started", qemu.path, check={**CHECK, "images": {"root.format": backing}})
    assert done.returncode == 1
    assert done.stderr.startswith(f"disk root: {problem}")
    assert qemu.heard == ["qmp_capabilities", "query-named-block-nodes"]


@pytest.mark.parametrize(("node", "backing"), [(qcow2(), None), (RAW, None), (stands_on("base.qcow2"), BACKING)])
def test_a_guest_runs_on_what_was_declared(
    tmp_path: Path, node: dict[str, Any], backing: dict[str, str] | None
) -> None:
    with FakeQemu(tmp_path / "s", answers={"query-named-block-nodes": [node]}) as qemu:
        done = run("started", qemu.path, check={**CHECK, "images": {"root.format": backing}})
    assert (done.returncode, done.stderr, qemu.heard[-1]) == (0, "", "cont")


@pytest.mark.parametrize(
    ("image", "problem"),
    [
        ({"backing-filename": "json:..."}, ""),
        (with_data_file(), "disk root: its data is in another file (/etc/shadow), as its header says"),
    ],
)
def test_an_overlay_stands_on_another_node_and_on_nothing_else(
    tmp_path: Path, image: dict[str, Any], problem: str
) -> None:
    nodes = [RAW, {**qcow2(**image), "node-name": "root.overlay"}]
    with FakeQemu(tmp_path / "s", answers={"query-named-block-nodes": nodes}) as qemu:
        done = run("started", qemu.path, check={**CHECK, "overlays": ["root.overlay"]})
    assert (done.stderr.startswith(problem), done.returncode) == (True, int(bool(problem)))


def test_a_disk_that_qemu_does_not_have_is_an_error(tmp_path: Path) -> None:
    with FakeQemu(tmp_path / "s", answers={"query-named-block-nodes": []}) as qemu:
        done = run("started", qemu.path)
    assert (done.returncode, done.stderr) == (1, "QEMU has no node root.format\n")


def test_a_guest_that_somebody_else_lets_run_is_left_alone(tmp_path: Path) -> None:
    with FakeQemu(tmp_path / "s", answers={"query-named-block-nodes": [RAW]}) as qemu:
        done = run("started", qemu.path, check={**CHECK, "run": False})
    assert (done.returncode, qemu.heard) == (0, ["qmp_capabilities", "query-named-block-nodes"])


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        ("query-named-block-nodes", "QEMU does not say what it has opened"),
        ("cont", "QEMU does not let the guest run: no"),
    ],
)
def test_a_qemu_that_refuses_has_not_started(tmp_path: Path, command: str, problem: str) -> None:
    answers = {"query-named-block-nodes": [RAW], command: {"error": {"desc": "no"}}}
    with FakeQemu(tmp_path / "s", answers=answers) as qemu:
        done = run("started", qemu.path)
    assert (done.returncode, done.stderr) == (1, f"{problem}\n")


def test_a_socket_that_comes_late_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "s"
    command = [sys.executable, "-IS", "-c", PROGRAM, "started", str(path), "10", json.dumps(CHECK)]
    with subprocess.Popen(command, env={"MAINPID": str(os.getpid())}) as process:
        time.sleep(0.2)
        assert process.poll() is None
        with FakeQemu(path, answers={"query-named-block-nodes": [RAW]}):
            assert process.wait(timeout=10) == 0


def test_a_vm_that_ends_while_it_starts_has_not_started(tmp_path: Path) -> None:
    with FakeQemu(tmp_path / "s", greets=False) as qemu:
        done = run("started", qemu.path)
    assert (done.returncode, done.stderr) == (1, "QEMU ended while it started\n")


def test_a_vm_that_has_ended_before_the_program_begins_has_not_started(tmp_path: Path) -> None:
    """systemd sets no MAINPID then."""
    command = [sys.executable, "-IS", "-c", PROGRAM, "started", str(tmp_path / "s"), "10", json.dumps(CHECK)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False, env={})
    assert (done.returncode, done.stderr) == (1, "QEMU ended while it started\n")


def test_a_vm_that_has_ended_is_not_waited_for(tmp_path: Path) -> None:
    with subprocess.Popen(["true"]) as ended:
        ended.wait()
    start = time.monotonic()
    done = run("started", tmp_path / "s", 20, main_pid=ended.pid)
    assert (done.returncode, done.stderr) == (1, "QEMU ended while it started\n")
    assert time.monotonic() - start < 10


def test_a_vm_that_never_listens_is_given_up(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        done = run("started", tmp_path / "s", 0.2, main_pid=process.pid)
        process.kill()
    assert (done.returncode, done.stderr) == (1, "QEMU has not opened its disks within 0.2 s\n")


@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_the_server_that_a_vm_waits_for_is_named(tmp_path: Path, family: int, host: str) -> None:
    with socket.socket(family) as server:
        server.bind((host, 0))
        server.listen()
        port = server.getsockname()[1]
        waits = f"import socket,time; s=socket.create_connection(({host!r},{port})); print(flush=True); time.sleep(60)"
        with subprocess.Popen([sys.executable, "-c", waits], stdout=subprocess.PIPE) as process:
            assert process.stdout
            process.stdout.readline()
            done = run("started", tmp_path / "s", 0.2, main_pid=process.pid)
            process.kill()
    assert done.stderr == f"QEMU has not opened its disks within 0.2 s; it waits for {host}:{port}\n"


def test_a_vm_that_listens_and_does_not_answer_is_given_up(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "s"))
        silent.listen()
        done = run("started", tmp_path / "s", 0.2)
    assert done.stderr.startswith("QEMU has not opened its disks within 0.2 s")


def test_a_silent_qemu_is_given_up_also_by_python_3_9(tmp_path: Path) -> None:
    """There, socket.timeout is another class than TimeoutError."""
    as_3_9 = "builtins.TimeoutError = type('TimeoutError', (OSError,), {})"
    script = f"import builtins, sys; {as_3_9}; exec(sys.argv.pop(1))"
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "s"))
        silent.listen()
        done = subprocess.run(
            [sys.executable, "-IS", "-c", script, PROGRAM, "started", str(tmp_path / "s"), "0.2", "{}"],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
            env={"MAINPID": str(os.getpid())},
        )
    assert done.stderr.startswith("QEMU has not opened its disks within 0.2 s")


@pytest.mark.parametrize("verb", ["started", "stop"])
def test_a_monitor_of_another_process_hears_nothing(tmp_path: Path, verb: str) -> None:
    with FakeQemu(tmp_path / "s") as qemu, subprocess.Popen(["sleep", "60"]) as process:
        done = run(verb, qemu.path, 2, main_pid=process.pid)
        process.kill()
    assert qemu.heard == []
    assert f"process {os.getpid()} listens there, and this VM's QEMU is process {process.pid}" in done.stderr


@pytest.mark.parametrize("verb", ["started", "stop"])
def test_a_link_to_a_monitor_is_not_followed(tmp_path: Path, verb: str) -> None:
    with FakeQemu(tmp_path / "s") as qemu:
        (tmp_path / "link").symlink_to(qemu.path)
        done = run(verb, tmp_path / "link", 2)
    assert qemu.heard == []
    assert "it is not a socket" in done.stderr


def test_a_monitor_that_floods_is_given_up_at_once(tmp_path: Path) -> None:
    with FloodingMonitor(tmp_path / "s"):
        start = time.monotonic()
        done = run("started", tmp_path / "s", 25)
    assert done.stderr == "QEMU's monitor does not answer as QEMU does\n"
    assert time.monotonic() - start < 20


def test_a_guest_that_obeys_is_not_switched_off(tmp_path: Path) -> None:
    with FakeQemu(tmp_path / "s", ends_on="system_powerdown") as qemu:
        done = run("stop", qemu.path)
    assert (done.returncode, done.stderr) == (0, "")
    # "cont" first: a guest that is paused cannot see its power button.
    assert qemu.heard == ["qmp_capabilities", "cont", "system_powerdown"]


@pytest.mark.parametrize("seconds", [0, 0.2])
def test_a_guest_that_does_not_obey_is_switched_off(tmp_path: Path, seconds: float) -> None:
    with FakeQemu(tmp_path / "s") as qemu:
        done = run("stop", qemu.path, seconds)
    assert (done.returncode, done.stderr) == (0, "")
    assert qemu.heard == ["qmp_capabilities", "cont", "system_powerdown", "quit"]


def test_a_monitor_that_others_wait_for_is_waited_for(tmp_path: Path) -> None:
    """A guest whose QEMU cannot be asked would be ended without a shutdown."""
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as first:
        listener.bind(str(tmp_path / "s"))
        listener.listen(0)
        first.connect(str(tmp_path / "s"))
        accepted = threading.Thread(target=lambda: [listener.accept()[0].close() for _client in range(2)])
        later = threading.Timer(0.5, accepted.start)
        later.start()
        done = run("stop", tmp_path / "s")
        later.join()
        accepted.join(10)
    assert not accepted.is_alive()
    assert "temporarily unavailable" not in done.stderr


def test_nothing_is_left_to_stop_where_qemu_has_ended_by_itself(tmp_path: Path) -> None:
    """Systemd calls it for a guest that has powered off, too, and would count its failure as the unit's."""
    with subprocess.Popen(["true"]) as ended:
        ended.wait()
    done = run("stop", tmp_path / "s", main_pid=ended.pid)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_vm_that_cannot_be_asked_is_left_to_systemd(tmp_path: Path) -> None:
    path = tmp_path / "s"
    done = run("stop", path)
    assert (done.returncode, done.stderr) == (
        0,
        f"{path}: No such file or directory; QEMU is ended without its guest\n",
    )
