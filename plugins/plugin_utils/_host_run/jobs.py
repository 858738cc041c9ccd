# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waits for work on a host that outlives its connection, and prints its progress."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Iterator
from typing import Any, Callable

from ansible.errors import AnsibleConnectionFailure
from ansible.utils.display import Display

from ansible_collections.directdisk.qemu.plugins.module_utils._errors import printable
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.host_state import JOBS, ProgressRow
from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run.output import show
from ansible_collections.directdisk.qemu.plugins.plugin_utils._inventory.tables import human

WAIT = 4
"""Seconds within which work is waited for in one call, so that most runs need no other."""
_POLL = 8
"""Seconds between two reports; each is one command on the host."""
_LOST = 50.0
"""Seconds for which a lost connection is tried again: less than the lease of the work (``_process/requester.py``)."""
_AGAIN = 3.0
_MOST_LINES = 8
_JOB = re.compile(r"[A-Za-z0-9_-]+")
_SHELL = """\
cd {folder} 2>/dev/null || {{ echo gone; exit 0; }}
touch lease
until [ -e result ] || ! [ -e "/proc/$(cat pid)" ] || [ "${{n:=0}}" -ge {seconds} ]; do sleep 1; n=$((n+1)); done
works=no; if [ -e "/proc/$(cat pid)" ]; then works=yes; fi
if [ -e result ]; then echo result; cat result
elif [ $works = yes ]; then echo progress; cat progress
else echo killed; fi"""
"""Looks for the process before the result, which the process leaves at its end.

Ends without a new line, because Ansible adds to it.
"""

Run = Callable[[str], dict[str, Any]]
"""Runs a shell command on the host, and returns its ``rc``, ``stdout`` and ``stderr``."""


def await_job(host: str, started: dict[str, Any], run: Run) -> dict[str, Any]:
    """Return the answer of work that has begun; started: the answer of the module that began it."""
    job = str(started["job"])
    if not _JOB.fullmatch(job):
        return {"failed": True, "msg": f"the host names its work {printable(job)!r}"}
    _show(host, started.get("progress") or [])
    command = _SHELL.format(folder=f"{JOBS}/{job}", seconds=_POLL)
    while True:
        state, text = _poll(host, command, run)
        if state == "result":
            answer: dict[str, Any] = json.loads(text)
            return answer
        if state != "progress":
            why = {"killed": "was killed", "gone": "has left nothing behind: the host was restarted"}
            words = why.get(state, f"cannot be asked: {printable(text.strip())}")
            return {"failed": True, "msg": f"the process that did the work {words}; run this again"}
        _show(host, json.loads(text or "[]"))


def _poll(host: str, command: str, run: Run) -> tuple[str, str]:
    """Return the state of the work and its text; try again while the connection is lost."""
    deadline = time.monotonic() + _LOST
    warned = False
    while True:
        try:
            done = run(command)
        except AnsibleConnectionFailure as error:
            if time.monotonic() > deadline:
                raise AnsibleConnectionFailure(
                    f"{error}; the work goes on there, and the next run waits for its end"
                ) from None
            if not warned:
                Display().warning(f"{host}: the connection is lost, while the work goes on; trying again")
            warned = True
            time.sleep(_AGAIN)
            continue
        if done.get("rc"):
            return "", str(done.get("stderr") or done.get("stdout") or "")
        state, _newline, text = str(done["stdout"]).lstrip().partition("\n")
        return state.strip(), text


def _show(host: str, rows: Iterable[ProgressRow]) -> None:
    lines = list(lines_of(host, rows))
    more = [f"{host}: and {len(lines) - _MOST_LINES} more disks"] if len(lines) > _MOST_LINES else []
    if lines:
        show("\n".join([*lines[:_MOST_LINES], *more]))


def lines_of(host: str, rows: Iterable[ProgressRow]) -> Iterator[str]:
    """Yield a line for each disk on which work goes on."""
    for row in rows:
        done, total = int(row["done"]), row["total"]
        share = f"{100 * done // total} % of {human(total)}" if total else human(done) if done else "..."
        rate = f", {human(int(row['rate']))}/s" if row["rate"] else ""
        left = "" if row["left"] is None else f", {_time(int(row['left']))} left"
        yield printable(f"{host}: disk {row['name']}: {row['step']}: {share}{rate}{left}")


def _time(seconds: int) -> str:
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60} s"
    return f"{seconds // 3600} h {seconds // 60 % 60} min"
