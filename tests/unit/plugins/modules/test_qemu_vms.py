# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host's part of qemu_vms, thin: requests are passed on, secrets decoded, errors told."""

from __future__ import annotations

import base64
import json
import os
import signal
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError
from ansible_collections.directdisk.qemu.plugins.module_utils._host import apply, former_storage, observe
from ansible_collections.directdisk.qemu.plugins.module_utils._images import vm_disks
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.host_state import encode
from ansible_collections.directdisk.qemu.plugins.module_utils._process import jobs, locks
from ansible_collections.directdisk.qemu.plugins.module_utils._process.progress import ProgressBoard
from ansible_collections.directdisk.qemu.plugins.module_utils._units import paths
from ansible_collections.directdisk.qemu.plugins.modules import qemu_vms
from ansible_collections.directdisk.qemu.tests.unit.plugins.modules.module_run import run_module
from ansible_collections.directdisk.qemu.tests.unit.support import probed

PATH = "/etc/credstore/qemu-vm-web1.root.password"
CREDENTIALS = {PATH: base64.b64encode("pässword\n".encode()).decode()}


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """What the host's functions were called with; they do nothing here."""
    seen: dict[str, Any] = {}

    def record(name: str, answer: Any) -> Any:
        return lambda *arguments, **options: (seen.update({name: (arguments, options)}), answer)[1]

    monkeypatch.setattr(qemu_vms, "probe", record("probe", probed("debian12")))
    monkeypatch.setattr(observe, "observe", record("observe", {"files": {}}))
    monkeypatch.setattr(apply, "apply", record("apply", {"actions": ["start vm web1"], "failures": {}}))
    monkeypatch.setattr(apply, "VMS_LOCK", str(tmp_path / "vms.lock"))
    monkeypatch.setattr(apply.private_folders, "remove_payloads", lambda: None)
    monkeypatch.setattr(former_storage, "RECORD", str(tmp_path / "opened.json"))
    for folder in ("UNIT_DIRECTORY", "PROGRAMS", "CREDENTIALS", "ENCRYPTED_CREDENTIALS", "NEEDRESTART"):
        monkeypatch.setattr(paths, folder, str(tmp_path / folder))
    return seen


def test_a_look_reports_capabilities_and_what_was_seen(monkeypatch: pytest.MonkeyPatch, calls: dict[str, Any]) -> None:
    request = {"observe": {"vms": ["web1"], "paths": [], "texts": True}}
    answer = run_module(monkeypatch, qemu_vms, vms=request, credentials=CREDENTIALS)
    assert answer == {"capabilities": probed("debian12"), "observed": {"files": {}}}
    assert calls["observe"] == ((), {**request["observe"], "secrets": {PATH: "pässword\n"}, "encrypted": True})
    assert "apply" not in calls


def test_an_apply_is_handed_on_with_its_secrets(monkeypatch: pytest.MonkeyPatch, calls: dict[str, Any]) -> None:
    desired: dict[str, Any] = {"files": {}, "vms": {}}
    answer = run_module(monkeypatch, qemu_vms, vms={"desired": desired, "encrypted": False}, credentials=CREDENTIALS)
    assert answer == {"actions": ["start vm web1"], "failures": {}}
    board = calls["apply"][1].pop("board")
    assert isinstance(board, ProgressBoard)
    assert calls["apply"] == ((desired, {PATH: "pässword\n"}), {"encrypted": False})
    assert "probe" not in calls


def test_an_apply_that_takes_long_goes_on_without_its_connection(
    monkeypatch: pytest.MonkeyPatch, calls: dict[str, Any], tmp_path: Path
) -> None:
    monkeypatch.setattr(qemu_vms.jobs, "run", partial(jobs.run, folder=str(tmp_path / "jobs")))
    monkeypatch.setattr(apply, "apply", lambda *_, **__: time.sleep(60))
    request = {"desired": {"files": {}, "vms": {}}, "encrypted": False, "wait": 0}
    answer = run_module(monkeypatch, qemu_vms, vms=request, credentials=CREDENTIALS)
    pid = _pid_of(tmp_path / "jobs" / answer.pop("job"))
    lock = {"path": apply.VMS_LOCK, "byte": 0, "seconds": 0, "subject": "this host's VMs"}
    with pytest.raises(HostError, match=f"process {pid} "), locks.locked(**lock):
        pass
    os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert answer == {"changed": False, "progress": []}
    with locks.locked(**lock):
        pass


def test_an_apply_waits_for_its_turn_in_the_process_that_has_the_connection(
    monkeypatch: pytest.MonkeyPatch, calls: dict[str, Any]
) -> None:
    monkeypatch.setattr(qemu_vms.jobs, "run", lambda *_, **__: pytest.fail("a job has begun"))
    monkeypatch.setattr(apply, "VMS_SECONDS", 0)
    request = {"desired": {"files": {}, "vms": {}}, "encrypted": False, "wait": 4}
    with locks.locked(apply.VMS_LOCK, 0, seconds=0, subject="this host's VMs"):
        answer = run_module(monkeypatch, qemu_vms, vms=request, credentials=CREDENTIALS)
    assert answer["msg"].startswith("another run on this host is working on this host's VMs: process ")


def test_an_apply_that_fails_fails_the_module(
    monkeypatch: pytest.MonkeyPatch, calls: dict[str, Any], tmp_path: Path
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise HostError("another run has changed it")

    monkeypatch.setattr(qemu_vms.jobs, "run", partial(jobs.run, folder=str(tmp_path / "jobs")))
    monkeypatch.setattr(apply, "apply", refuse)
    for wait in ({}, {"wait": 30}):
        request = {"desired": {"files": {}, "vms": {}}, "encrypted": False, **wait}
        answer = run_module(monkeypatch, qemu_vms, vms=request, credentials=CREDENTIALS)
        assert answer == {"failed": True, "msg": "another run has changed it"}


def _pid_of(job: Path) -> int:
    """Return the process of a job, which writes its number once it has a session of its own."""
    deadline = time.monotonic() + 30
    while not (job / "pid").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return int((job / "pid").read_text())


def test_a_stop_is_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apply, "stop", lambda names: {"stopped": names})
    assert run_module(monkeypatch, qemu_vms, vms={"stop": ["web1"]}) == {"stopped": ["web1"]}


def test_an_error_of_the_host_is_told_in_its_words(monkeypatch: pytest.MonkeyPatch, calls: dict[str, Any]) -> None:
    def fail(**_options: Any) -> None:
        raise HostError("/srv/a.qcow2 is declared as qcow2, but it is none")

    monkeypatch.setattr(observe, "observe", fail)
    answer = run_module(monkeypatch, qemu_vms, vms={"observe": {}})
    assert answer == {"failed": True, "msg": "/srv/a.qcow2 is declared as qcow2, but it is none"}


UNIT = "qemu-vm-web1.service"
RAW = {
    "name": "root of web1",
    "node": "root.storage",
    "before_start": True,
    "unit": UNIT,
    "identity": "nbd:a/",
    "declared": {"nbd": {"host": "a"}},
}
MANAGED = {"vm": "web1", "disk": "root", "declared": {"file": {"path": "/srv/a"}, "size": "1GiB"}}


def observe_with_disks(
    monkeypatch: pytest.MonkeyPatch,
    disks: dict[str, Any],
    *,
    active: str = "inactive",
    opened: str = "",
    nodes: Sequence[str] = ("root.storage",),
) -> tuple[dict[str, Any], list[Any]]:
    """Observe a host with web1's unit, and return the answer and the disks whose storage was read."""
    read: list[Any] = []
    observed = {
        "files": {f"/etc/systemd/system/{UNIT}": {"opened": {opened: True}, "spellings": {}}},
        "units": {UNIT: {"active": active, "invocation": "1"}},
        "processes": {"web1": {"error": "", "nodes": list(nodes)}} if active == "active" else {},
    }
    monkeypatch.setattr(observe, "observe", lambda **_options: observed)
    monkeypatch.setattr(vm_disks, "predict", lambda managed, *_: (read.extend(managed), {"disks": []})[1])
    monkeypatch.setattr(vm_disks, "read_heads", lambda raw, *_: read.extend(raw))
    return run_module(monkeypatch, qemu_vms, vms={"observe": {}}, disks=encode(disks)), read


def test_managed_disks_are_observed_in_the_same_call(monkeypatch: pytest.MonkeyPatch, calls: dict[str, Any]) -> None:
    answer, read = observe_with_disks(monkeypatch, {"managed": [MANAGED], "to_read": []})
    assert (answer["disks"], read) == ({"disks": []}, [MANAGED])


@pytest.mark.parametrize(
    ("active", "opened", "is_read"),
    [
        ("inactive", "nbd:a/", True),
        ("failed", "nbd:a/", True),
        ("active", "nbd:a/", False),
        ("active", "nbd:b/", True),
    ],
)
def test_a_raw_disk_is_read_unless_its_vm_has_it_open(
    monkeypatch: pytest.MonkeyPatch, calls: dict[str, Any], active: str, opened: str, is_read: bool
) -> None:
    answer, read = observe_with_disks(monkeypatch, {"managed": [], "to_read": [RAW]}, active=active, opened=opened)
    assert read == [RAW] * is_read
    assert "disks" not in answer


@pytest.mark.parametrize(
    ("active", "opened", "nodes", "is_read"),
    [
        ("inactive", "nbd:a/", [], False),
        ("active", "nbd:a/", ["root.storage"], False),
        ("active", "nbd:b/", [], True),
        ("active", "nbd:a/", ["other.storage"], True),
    ],
    ids=["starts", "has it", "is given it", "has lost it"],
)
def test_storage_of_any_format_is_read_before_a_running_vm_is_given_it(
    monkeypatch: pytest.MonkeyPatch,
    calls: dict[str, Any],
    active: str,
    opened: str,
    nodes: list[str],
    is_read: bool,
) -> None:
    qcow2 = {**RAW, "before_start": False}
    disks = {"managed": [], "to_read": [qcow2]}
    _answer, read = observe_with_disks(monkeypatch, disks, active=active, opened=opened, nodes=nodes)
    assert read == [qcow2] * is_read


def test_a_raw_disk_is_read_that_the_unit_lists_only_for_the_next_start(
    monkeypatch: pytest.MonkeyPatch, calls: dict[str, Any], tmp_path: Path
) -> None:
    record = tmp_path / "record"
    record.write_text(json.dumps({UNIT: {"invocation": "1", "opened": {"nbd:b/": True}, "spellings": {}}}))
    monkeypatch.setattr(former_storage, "RECORD", str(record))
    _answer, read = observe_with_disks(monkeypatch, {"managed": [], "to_read": [RAW]}, active="active", opened="nbd:a/")
    assert read == [RAW]
