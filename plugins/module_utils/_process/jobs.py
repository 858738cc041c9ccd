# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Work on a host that outlives its connection: a detached process, with its progress and its result in files.

The module that begins it waits a few seconds, so that short work is one call. After that the controller asks for
progress and result by a line of shell (``plugin_utils/_host_run/jobs.py``), which also renews the lease: work that has
begun goes on without a controller, but does not begin with another disk.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import shutil
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator
from typing import Any, Callable, NoReturn

from ansible_collections.directdisk.qemu.plugins.module_utils._plan.host_state import JOBS, ProgressRow
from ansible_collections.directdisk.qemu.plugins.module_utils._process import requester
from ansible_collections.directdisk.qemu.plugins.module_utils._process.progress import ProgressBoard
from ansible_collections.directdisk.qemu.plugins.module_utils._process.run import keep_texts

_REPORTED = 1.0
"""Seconds between two reports of progress."""
_KEPT = 3600.0
"""Seconds for which the result of a job is kept for a controller whose connection was lost."""

Answer = dict[str, Any]


def run(work: Callable[[ProgressBoard], Answer], *, seconds: float, folder: str = JOBS) -> Answer:
    """Work in a process that does not end with this one, and return its answer.

    If it takes longer than ``seconds``, return ``job``, by which its answer is asked for, and its ``progress``.
    """
    _remove_old(folder)
    place = _new_place(folder)
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(reader)
        _work_detached(work, place)
    os.close(writer)
    try:
        ended = bool(select.select([reader], [], [], seconds)[0])
    finally:
        os.close(reader)
    if not ended:
        return {"changed": False, "job": os.path.basename(place), "progress": _rows(place)}
    _pid, status = os.waitpid(pid, 0)
    try:
        with open(f"{place}/result", encoding="utf-8") as stream:
            answer: Answer = json.load(stream)
    except FileNotFoundError:
        answer = {"failed": True, "msg": f"the process that did the work was killed (status {status})"}
    shutil.rmtree(place, ignore_errors=True)
    return answer


def _new_place(folder: str) -> str:
    os.makedirs(folder, mode=0o700, exist_ok=True)
    place = tempfile.mkdtemp(dir=folder, prefix="job-")
    _write(f"{place}/lease", "")
    return place


def _work_detached(work: Callable[[ProgressBoard], Answer], place: str) -> NoReturn:
    """Work, and leave the answer in a file; nothing of the module around it runs in this process."""
    status = 1
    try:
        os.setsid()
        _detach()
        os.chdir("/")
        # The module's archive is removed when the module ends.
        keep_texts()
        requester.expect_lease(f"{place}/lease")
        board = ProgressBoard()
        # Released by the end of this process alone, which others can see by that.
        fcntl.flock(os.open(f"{place}/lease", os.O_RDWR), fcntl.LOCK_EX)
        _write(f"{place}/pid", str(os.getpid()))
        threading.Thread(target=_report, args=(board, place), daemon=True).start()
        try:
            answer = work(board)
        except Exception as error:  # the answer is all that anybody sees of this process
            message = f"{type(error).__name__}: {error}"
            answer = {"failed": True, "msg": message, "exception": traceback.format_exc()}
        _write(f"{place}/result", json.dumps(answer))
        status = 0
    finally:
        os._exit(status)


def _detach() -> None:
    """Close the connection's descriptors: as long as they are open, the connection waits."""
    null = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(null, number)
    os.close(null)


def _report(board: ProgressBoard, place: str) -> None:
    while True:
        with contextlib.suppress(OSError):
            _write(f"{place}/progress", json.dumps(board.rows()))
        time.sleep(_REPORTED)


def _write(path: str, text: str) -> None:
    """Write a file at once, so that nobody reads half of it."""
    with open(f"{path}.new", "w", encoding="utf-8") as stream:
        stream.write(text)
    os.rename(f"{path}.new", path)


def _rows(place: str) -> list[ProgressRow]:
    try:
        with open(f"{place}/progress", encoding="utf-8") as stream:
            rows: list[ProgressRow] = json.load(stream)
    except (OSError, ValueError):
        return []
    return rows


def progress_of(pid: int, lock: int, folder: str = JOBS) -> ProgressRow | None:
    """Return the progress of the job that is a process, at the disk that it holds by a lock; None if it is no job."""
    for place in _places(folder):
        with contextlib.suppress(OSError):
            with open(f"{place}/pid", encoding="ascii") as stream:
                if stream.read() != str(pid):
                    continue
            return next((row for row in _rows(place) if row["lock"] == lock), None) or _unknown(lock)
    return None


def _unknown(lock: int) -> ProgressRow:
    return {
        "name": "",
        "step": "",
        "done": 0,
        "total": None,
        "rate": 0,
        "left": None,
        "seconds": 0,
        "lock": lock,
    }


def _places(folder: str) -> Iterator[str]:
    with contextlib.suppress(FileNotFoundError):
        yield from (f"{folder}/{name}" for name in os.listdir(folder))


def _remove_old(folder: str) -> None:
    """Remove what is left of jobs that ended some time ago."""
    for place in _places(folder):
        with contextlib.suppress(OSError):
            if time.time() - os.stat(f"{place}/lease").st_mtime > _KEPT and not _is_locked(f"{place}/lease"):
                shutil.rmtree(place, ignore_errors=True)


def _is_locked(path: str) -> bool:
    handle = os.open(path, os.O_RDWR)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False
