# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The monitor, against a test double of QEMU."""

from __future__ import annotations

import os
import re
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._clients.qmp import Monitor
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import QmpError
from ansible_collections.directdisk.qemu.plugins.module_utils._host import running, systemd
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.host_state import UnitState
from ansible_collections.directdisk.qemu.plugins.module_utils._units import paths, unit_text
from ansible_collections.directdisk.qemu.tests.unit.fake_qmp import FakeQemu, FloodingMonitor


def test_a_command_returns_its_value_whatever_events_come_between(tmp_path: Path) -> None:
    with FakeQemu(tmp_path / "s", answers={"query-status": {"status": "running"}}) as qemu:
        with Monitor.connect(qemu.path) as monitor:
            assert monitor.execute("query-status") == {"status": "running"}
            assert monitor.execute("block_resize", {"node-name": "a", "size": 1}) == {}
        assert qemu.heard == ["qmp_capabilities", "query-status", "block_resize"]
        assert qemu.arguments == [None, None, {"node-name": "a", "size": 1}]


def test_a_refused_command_says_qemus_words(tmp_path: Path) -> None:
    refusal = {"error": {"class": "GenericError", "desc": "Cannot grow device files"}}
    with FakeQemu(tmp_path / "s", answers={"block_resize": refusal}) as qemu, Monitor.connect(qemu.path) as monitor:
        assert monitor.try_execute("block_resize") == refusal
        with pytest.raises(QmpError, match=r"^block_resize: Cannot grow device files$"):
            monitor.execute("block_resize")


@pytest.mark.parametrize("greets", [True, False])
def test_a_qemu_that_ends_is_told(tmp_path: Path, greets: bool) -> None:
    with (
        FakeQemu(tmp_path / "s", ends_on="query-status", greets=greets) as qemu,
        pytest.raises(QmpError, match=r"^QEMU closed its monitor$"),
        Monitor.connect(qemu.path) as monitor,
    ):
        monitor.execute("query-status")


def test_a_socket_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = str(tmp_path / "nothing")
    with pytest.raises(QmpError, match=f"^{re.escape(path)}: No such file or directory$"):
        Monitor.connect(path)


def test_a_qemu_that_hangs_is_given_up() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(QmpError, match=r"^QEMU does not answer: timed out$"):
        Monitor(ours, seconds=0.05)


def test_an_answer_without_an_end_is_not_kept() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"x" * 5000)
        with pytest.raises(QmpError, match=r"^its answer is longer than 1000 bytes, and QEMU's are not$"):
            Monitor(ours, seconds=0.5, answer_limit=1000)


def test_the_vms_of_a_host_are_read_from_systemd_qmp_and_console(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("qemu-vm-web1.root.nbdkit.service", "qemu-vm-off.service"):
        (tmp_path / name).touch()
    (tmp_path / "qemu-vm-web1.service").write_text(
        unit_text.opened_line({"nbd:h:10809/a": True}) + "\n", encoding="utf-8"
    )
    (tmp_path / "web1.log").write_text("boot\nlogin: \n\n\x00 \n", encoding="utf-8")
    inserted = {"node-name": "root.format", "image": {"virtual-size": 512}, "ro": True}
    blocks = [{"inserted": inserted, "io-status": "failed"}, {"inserted": {"node-name": "machine.seed"}}, {}]
    states = {
        name: {"active": "inactive", "enabled": False, "invocation": ""}
        for name in ("qemu-vm-web1.service", "qemu-vm-off.service")
    }
    states["qemu-vm-web1.service"] = {"active": "active", "enabled": True, "invocation": "1"}
    monkeypatch.setattr(paths, "UNIT_DIRECTORY", str(tmp_path))
    monkeypatch.setattr(paths, "qmp_socket", lambda vm: str(tmp_path / f"{vm}.sock"))
    monkeypatch.setattr(paths, "console_log", lambda vm: str(tmp_path / f"{vm}.log"))
    monkeypatch.setattr(systemd, "states", lambda units: {unit: states[unit] for unit in units})
    stats = {"rd_operations": 2, "rd_bytes": 1024, "failed_rd_operations": 1, "failed_flush_operations": 3}
    answers = {
        "query-status": {"status": "io-error"},
        "qom-get": "pc-q35-7.2-machine",
        "query-block": blocks,
        "x-debug-query-block-graph": {"nodes": [], "edges": []},
        "query-blockstats": [{"stats": {}}, {"node-name": "root.format", "stats": stats}],
    }
    with FakeQemu(tmp_path / "web1.sock", answers=answers):
        found = running.vms()
    assert list(found) == ["off", "web1"]
    assert found["off"] == {
        "unit": "qemu-vm-off.service",
        "active": "inactive",
        "enabled": False,
        "status": "",
        "machine": "",
        "opened": {},
        "restart_needed": False,
        "disks": {},
        "console": "",
    }
    assert (found["web1"]["status"], found["web1"]["machine"]) == ("io-error", "pc-q35-7.2")
    assert found["web1"]["disks"] == {
        "root": {
            "node": "root.format",
            "size": 512,
            "read_only": True,
            "io_status": "failed",
            "io": {"reads": 2, "read_bytes": 1024, "writes": 0, "written_bytes": 0, "errors": 4},
        }
    }
    assert found["web1"]["opened"] == {"nbd:h:10809/a": True}
    monkeypatch.setattr(paths, "qmp_socket", lambda vm: str(tmp_path / "nothing"))
    assert running.vms()["web1"]["error"].endswith("nothing: No such file or directory")


def graph_of(device: str, *permissions: str) -> dict[str, Any]:
    """QEMU's block graph with one device and its node root.format, which another node is below."""
    nodes = {1: ("block-backend", device), 2: ("block-driver", "root.format"), 3: ("block-driver", "root.storage")}
    edges = [{"parent": 1, "child": 2, "perm": permissions}, {"parent": 2, "child": 3, "perm": ["write"]}]
    listed = [{"id": number, "type": kind, "name": name} for number, (kind, name) in nodes.items()]
    return {"nodes": listed, "edges": edges}


@pytest.mark.parametrize(
    ("status", "disk_sizes", "permissions", "expected"),
    [
        ("running", False, ["consistent-read", "write"], {"read_only": False, "io_status": "ok"}),
        ("running", False, ["consistent-read"], {"read_only": True, "io_status": "ok"}),
        ("paused", False, ["write"], {"read_only": False, "io_status": "ok"}),
        ("running", True, ["write"], {"read_only": False, "io_status": "failed", "size": 512}),
        ("io-error", False, ["write"], {"read_only": False, "io_status": "failed", "size": 512}),
    ],
)
def test_the_storage_of_a_vm_is_asked_for_sizes_or_after_an_io_error_alone(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    status: str,
    disk_sizes: bool,
    permissions: list[str],
    expected: dict[str, Any],
) -> None:
    """query-block and query-named-block-nodes halt a VM while its storage does not answer."""
    monkeypatch.setattr(paths, "qmp_socket", lambda vm: str(tmp_path / "s"))
    inserted = {"node-name": "root.format", "image": {"virtual-size": 512}}
    answers = {
        "query-status": {"status": status},
        "qom-get": "",
        "query-blockstats": [{"node-name": "root.format", "stats": {}}],
        "query-block": [{"inserted": inserted, "io-status": "failed"}],
        "x-debug-query-block-graph": graph_of("/machine/peripheral/root", *permissions),
    }
    with FakeQemu(tmp_path / "s", answers=answers) as qemu:
        state: UnitState = {"active": "active", "enabled": True, "pid": 1, "invocation": "1"}
        disk = running._vm("web1", state, disk_sizes=disk_sizes)["disks"]["root"]
    assert {name: value for name, value in disk.items() if name not in ("node", "io")} == expected
    asked = {"query-block", "query-named-block-nodes"} & {*qemu.heard}
    assert asked == ({"query-block"} if "size" in expected else set())


@pytest.mark.parametrize(
    "piece",
    [
        b"A" * 65536,
        b"{}\n",
        b"\xff\xfe not json\n",
        b"[1,2]\n",
        b"[" * 200000 + b"\n",
        b'{"a":' + b"9" * 100000 + b"}\n",
    ],
    ids=["endless", "many", "bytes", "list", "deep", "digits"],
)
def test_a_monitor_that_is_not_qemus_is_an_error_soon(tmp_path: Path, piece: bytes) -> None:
    start = time.monotonic()
    with FloodingMonitor(tmp_path / "s", piece), pytest.raises(QmpError):
        Monitor.connect(str(tmp_path / "s"), seconds=1)
    assert time.monotonic() - start < 30


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        ("query-status", ["x"]),
        ("query-status", {"status": 5}),
        ("x-debug-query-block-graph", {"nodes": []}),
        ("x-debug-query-block-graph", {"nodes": [{"id": [1]}], "edges": []}),
        ("x-debug-query-block-graph", {"nodes": [], "edges": [{"perm": "write"}]}),
        ("query-block", {"a": 1}),
        ("query-block", [{"inserted": []}]),
        ("query-block", [{"inserted": {"node-name": ["x"]}}]),
        ("query-block", [{"inserted": {"node-name": "root.format", "image": {"virtual-size": "big"}}}]),
        ("query-block", [5]),
        ("query-blockstats", [{"stats": 5}]),
        ("query-blockstats", [{"node-name": {}, "stats": {}}]),
        ("query-status", {"error": ["x"]}),
        ("qom-get", 5),
    ],
)
def test_answers_of_other_kinds_are_the_error_of_their_vm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, answer: object
) -> None:
    monkeypatch.setattr(paths, "qmp_socket", lambda vm: str(tmp_path / "s"))
    good = {
        "query-status": {"status": "running"},
        "query-block": [{"inserted": {"node-name": "root.format"}}],
        "query-blockstats": [{"node-name": "root.format"}],
        "x-debug-query-block-graph": {"nodes": [], "edges": []},
    }
    with FakeQemu(tmp_path / "s", answers={**good, command: answer}):
        found = running._vm("web1", {"active": "active", "enabled": True, "invocation": "1"}, disk_sizes=True)
    assert found["error"]
    assert found["disks"] == {}


@pytest.mark.parametrize("kind", ["link", "fifo", "device"])
def test_what_a_vm_puts_in_the_place_of_its_console_log_is_not_read(tmp_path: Path, kind: str) -> None:
    tmp_path.chmod(0o777)  # as if it were not root's alone
    path = tmp_path / "console.log"
    if kind == "fifo":
        os.mkfifo(path)
    else:
        path.symlink_to("/etc/passwd" if kind == "link" else "/dev/zero")
    start = time.monotonic()
    assert running._last_line(str(path)) == ""
    assert time.monotonic() - start < 20
