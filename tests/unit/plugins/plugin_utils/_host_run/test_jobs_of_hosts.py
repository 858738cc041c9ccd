# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller waits for work on a host, and prints its progress."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleConnectionFailure

from ansible_collections.directdisk.qemu.plugins.module_utils._process import requester
from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run import jobs

ROW = {"name": "root of web1", "step": "copy", "done": 1 << 30, "total": 4 << 30, "rate": 1 << 20, "left": 3072}
STARTED = {"job": "job-1", "progress": [ROW]}
LINE = "hv1: disk root of web1: copy: 25 % of 4 GiB, 1 MiB/s, 51 min 12 s left"


@pytest.fixture(name="shown")
def make_shown(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    shown: list[str] = []
    monkeypatch.setattr(jobs, "show", shown.append)
    monkeypatch.setattr(jobs.time, "sleep", lambda seconds: None)
    return shown


def answers(*texts: str | Exception) -> Any:
    left = list(texts)

    def run(command: str) -> dict[str, Any]:
        text = left.pop(0)
        if isinstance(text, Exception):
            raise text
        return {"rc": 0, "stdout": text, "stderr": "Shared connection closed."}

    return run


def test_progress_is_printed_until_there_is_a_result(shown: list[str]) -> None:
    other = {**ROW, "total": None, "left": None, "rate": 0, "name": "evil\x1b[2J"}
    run = answers(f"progress\r\n{json.dumps([ROW, other])}", 'result\r\n{"changed": true}\r\n')
    assert jobs.await_job("hv1", STARTED, run) == {"changed": True}
    assert shown == [LINE, f"{LINE}\nhv1: disk evil\\x1b[2J: copy: 1 GiB"]


def test_work_counts_on_a_controller_for_longer_than_it_needs_to_ask() -> None:
    assert jobs.WAIT + jobs._POLL < requester.RECENT < jobs._LOST < requester.LEASE


def test_a_lost_connection_is_tried_again(shown: list[str]) -> None:
    run = answers(AnsibleConnectionFailure("closed"), AnsibleConnectionFailure("closed"), 'result\n{"changed": true}')
    assert jobs.await_job("hv1", STARTED, run) == {"changed": True}


def test_a_host_that_stays_away_is_unreachable_and_its_work_goes_on(
    shown: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(0, 10000, 30))
    monkeypatch.setattr(jobs.time, "monotonic", lambda: next(clock))
    with pytest.raises(AnsibleConnectionFailure, match=r"^closed; the work goes on there, and the next"):
        jobs.await_job("hv1", STARTED, answers(*[AnsibleConnectionFailure("closed")] * 4))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("killed", "was killed; run this again"),
        ("gone", "has left nothing behind: the host was restarted; run this again"),
    ],
)
def test_work_that_has_no_result_is_an_error(shown: list[str], text: str, words: str) -> None:
    answer = jobs.await_job("hv1", STARTED, answers(text))
    assert answer == {"failed": True, "msg": f"the process that did the work {words}"}


def test_many_disks_are_a_few_lines(shown: list[str]) -> None:
    jobs.await_job("hv1", {"job": "job-1", "progress": [ROW] * 50}, answers("result\n{}"))
    assert len(shown[0].splitlines()) == 9
    assert shown[0].endswith("hv1: and 42 more disks")


def test_the_name_of_the_work_is_no_command() -> None:
    assert "names its work" in jobs.await_job("hv1", {"job": "x; reboot"}, answers())["msg"]


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (None, "gone\n"),
        ({"pid": "999999999"}, "killed\n"),
        ({"pid": "1", "progress": "[]"}, "progress\n[]"),
        ({"pid": "1", "progress": "[]", "result": "{}"}, "result\n{}"),
    ],
)
def test_the_shell_command_says_what_there_is(tmp_path: Path, files: dict[str, str] | None, said: str) -> None:
    if files is not None:
        (tmp_path / "job").mkdir()
        (tmp_path / "job" / "lease").touch()
        for name, text in files.items():
            (tmp_path / "job" / name).write_text(text)
    # Ansible adds the end.
    command = jobs._SHELL.format(folder=tmp_path / "job", seconds=0) + " && sleep 0"
    done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == (said, "")


def test_work_that_ends_while_it_is_asked_for_is_not_taken_for_killed(tmp_path: Path) -> None:
    """The process is there at the first look, and gone at the second, with its result."""
    program = tmp_path / "cat"
    program.write_text(
        f"""#!/bin/sh
[ "$1" = pid ] || exec {shutil.which("cat")} "$@"
if [ -e looked ]; then echo 0; printf done >result; else echo self; touch looked; fi
"""
    )
    program.chmod(0o755)
    (tmp_path / "job").mkdir()
    command = jobs._SHELL.format(folder=tmp_path / "job", seconds=0)
    path = f"{tmp_path}:{os.environ['PATH']}"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, env={"PATH": path}, check=True)
    assert done.stdout == "result\ndone"


def test_a_lost_connection_is_warned_of_once(shown: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    warnings: list[str] = []
    monkeypatch.setattr(jobs.Display, "warning", lambda self, text: warnings.append(text))
    run = answers(AnsibleConnectionFailure("closed"), AnsibleConnectionFailure("closed"), 'result\n{"changed": true}')
    jobs.await_job("hv1", STARTED, run)
    assert warnings == ["hv1: the connection is lost, while the work goes on; trying again"]
