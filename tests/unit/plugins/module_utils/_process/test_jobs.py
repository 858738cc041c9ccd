# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Work that outlives the module: its answer, its progress, its end, and when nothing more begins."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError
from ansible_collections.directdisk.qemu.plugins.module_utils._process import jobs, locks, requester
from ansible_collections.directdisk.qemu.plugins.module_utils._process.progress import DiskProgress, ProgressBoard, Step
from ansible_collections.directdisk.qemu.plugins.module_utils._process.run import text_of
from ansible_collections.directdisk.qemu.tests.unit.support import disk_of, vm

DISK = vm(disk_of({"file": {"path": "/srv/a"}})).disks[0]
PROGRESS = DiskProgress("a", 1)


def until(path: Path) -> str:
    deadline = time.monotonic() + 10
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    return path.read_text()


@pytest.fixture(name="folder")
def make_folder(tmp_path: Path) -> Iterator[str]:
    folder = tmp_path / "jobs"
    yield str(folder)
    for place in folder.glob("*/pid"):
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(place.read_text()), signal.SIGKILL)


def test_short_work_is_one_answer_and_leaves_nothing(folder: str) -> None:
    assert jobs.run(lambda board: {"pid": os.getpid()}, seconds=10, folder=folder)["pid"] != os.getpid()
    assert os.listdir(folder) == []


def test_an_unexpected_error_is_an_answer(folder: str) -> None:
    answer = jobs.run(lambda board: {"a": 1 // 0}, seconds=10, folder=folder)
    assert answer["msg"] == "ZeroDivisionError: integer division or modulo by zero"
    assert "1 // 0" in answer["exception"]


def test_work_that_is_killed_is_an_error(folder: str) -> None:
    answer = jobs.run(lambda board: os.kill(os.getpid(), signal.SIGKILL) or {}, seconds=10, folder=folder)
    assert answer == {"failed": True, "msg": "the process that did the work was killed (status 9)"}


def test_long_work_goes_on_in_a_session_of_its_own_with_progress(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "_REPORTED", 0.01)
    go, said = Path(folder).parent / "go", Path(folder).parent / "said"

    def work(board: ProgressBoard) -> dict[str, Any]:
        with board.disk("root of web1", 7) as progress, progress.step("copy", 100) as step:
            step.done = 40
            until(go)
        said.write_text(f"{os.getsid(0) == os.getpid()} {[os.readlink(f'/proc/self/fd/{n}') for n in (0, 1, 2)]}")
        return {"changed": True}

    started = jobs.run(work, seconds=0.05, folder=folder)
    place = Path(folder) / started["job"]
    deadline = time.monotonic() + 10
    while not jobs._rows(str(place)) and time.monotonic() < deadline:
        time.sleep(0.01)
    (row,) = jobs._rows(str(place))
    assert (row["name"], row["step"], row["done"], row["total"]) == ("root of web1", "copy", 40, 100)
    pid = int(until(place / "pid"))
    assert (jobs.progress_of(pid, 7, folder) or {})["done"] == 40
    assert jobs.progress_of(os.getpid(), 7, folder) is None
    go.touch()
    assert json.loads(until(place / "result")) == {"changed": True}
    assert said.read_text() == f"True {['/dev/null'] * 3}"
    os.waitpid(pid, 0)


def test_results_that_nobody_asked_for_are_removed_after_a_while(folder: str) -> None:
    for name, age in (("job-old", 7200), ("job-at-work", 7200), ("job-new", 10)):
        lease = Path(folder) / name / "lease"
        lease.parent.mkdir(parents=True)
        lease.touch()
        os.utime(lease, (time.time() - age,) * 2)
    with open(Path(folder) / "job-at-work" / "lease", encoding="utf-8") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        jobs.run(lambda board: {}, seconds=10, folder=folder)
    assert sorted(os.listdir(folder)) == ["job-at-work", "job-new"]


def test_work_has_the_texts_of_programs_after_the_archive_of_its_module_is_removed(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archived, go = tmp_path / "tool.py", tmp_path / "go"
    archived.write_text("# the program\n")
    program = ModuleType("packed._programs.tool")
    loader = SimpleNamespace(get_source=lambda name: archived.read_text())
    program.__spec__ = ModuleSpec(program.__name__, loader)  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, program.__name__, program)

    def work(board: ProgressBoard) -> dict[str, Any]:
        until(go)
        return {"text": text_of(program)}

    place = Path(folder) / jobs.run(work, seconds=0, folder=folder)["job"]
    pid = int(until(place / "pid"))
    archived.unlink()
    go.touch()
    assert json.loads(until(place / "result")) == {"text": "# the program\n"}
    os.waitpid(pid, 0)


def test_nothing_goes_on_for_a_controller_that_is_gone(lease: Path) -> None:
    requester.check(surely=True)
    renewed(lease, age=requester.LEASE + 1)
    with pytest.raises(HostError, match="the run that asked for this has ended"):
        requester.check()


@pytest.fixture(name="earlier")
def make_earlier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """An earlier run that holds a disk for three looks; the progress of the run that waits for it, at each look."""
    monkeypatch.setattr(locks, "DISKS_LOCK", str(tmp_path / "lock"))
    monkeypatch.setattr(locks, "_SOON", 0.1)
    monkeypatch.setattr(time, "sleep", lambda seconds, sleep=time.sleep: sleep(min(seconds, 0.02)))
    holders = iter([4711, 4711, 4711, 0])
    rows = iter([{"step": "copy", "done": 3, "total": 9, "seconds": 1}] * 2)
    seen = []

    def holder_of(path: str, byte: int) -> int:
        seen.append((PROGRESS.row()["step"], PROGRESS.row()["done"]))
        pid = next(holders)
        if not pid:
            held.__exit__(None, None, None)
        return pid

    held = locks.locked(str(tmp_path / "lock"), locks.lock_of(DISK), seconds=1, subject="it")
    held.__enter__()
    monkeypatch.setattr(locks, "holder_of", holder_of)
    monkeypatch.setattr(jobs, "progress_of", lambda pid, byte: next(rows))
    return seen


@pytest.fixture(name="lease")
def make_lease(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The lease of a detached process, which this one is taken for; its controller has asked a moment ago."""
    lease = tmp_path / "lease"
    lease.touch()
    monkeypatch.setattr(requester, "_lease", requester._Lease(str(lease)))
    return lease


def renewed(lease: Path, *, age: float) -> None:
    os.utime(lease, (time.time() - age,) * 2)


def test_a_disk_at_which_an_earlier_run_works_is_waited_for(earlier: list[tuple[str, int]]) -> None:
    with locks.locked_disk(DISK, PROGRESS, seconds=0.2):
        pass
    assert earlier[-1] == ("wait for process 4711 of an earlier run", 3)


def test_a_disk_that_was_waited_for_is_changed_only_if_the_controller_asks_after_that(
    earlier: list[tuple[str, int]], lease: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A controller that was killed meanwhile has asked a moment ago, but asks no more."""
    age = requester.LEASE + 1
    monkeypatch.setattr(time, "sleep", lambda seconds: seconds == requester._PAUSE and renewed(lease, age=age))
    with pytest.raises(HostError, match="has ended; nothing was changed"), locks.locked_disk(DISK, PROGRESS, seconds=1):
        pytest.fail("the disk is changed")


def test_a_disk_that_was_waited_for_is_changed_once_the_controller_asks(
    earlier: list[tuple[str, int]], lease: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: seconds == requester._PAUSE and renewed(lease, age=-1))
    with locks.locked_disk(DISK, PROGRESS, seconds=1):
        assert lease.stat().st_mtime > time.time()


def test_a_disk_that_was_waited_for_is_not_changed_without_a_connection(
    earlier: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(requester, "check", lambda *, surely=False: asked.append(surely))
    with locks.locked_disk(DISK, PROGRESS, seconds=1):
        pass
    assert asked[-1]


def test_nothing_begins_until_the_controller_has_asked_lately(lease: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    requester.await_controller(within=requester.RECENT)
    renewed(lease, age=requester.RECENT + 1)
    monkeypatch.setattr(time, "sleep", lambda _seconds: renewed(lease, age=requester.LEASE + 1))
    with pytest.raises(HostError, match="the run that asked for this has ended"):
        requester.await_controller(within=requester.RECENT)


def test_a_total_that_is_less_than_what_is_done_is_not_known() -> None:
    step = Step("download", 10)
    step.done = 20
    row = step.row("root of web1", 0)
    assert (row["done"], row["total"], row["left"]) == (20, None, None)
