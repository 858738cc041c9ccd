# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A playbook that is killed takes its tasks along: they have hosts changed for nobody."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

# A playbook's process, and the one in which Ansible runs a task of it.
PLAYBOOK = """
import multiprocessing, os, time
from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run.action import end_with_playbook

def task(ready):
    end_with_playbook()
    ready.set()
    time.sleep(60)

context = multiprocessing.get_context("fork")
ready = context.Event()
worker = context.Process(target=task, args=(ready,))
worker.start()
ready.wait()
print(worker.pid, flush=True)
time.sleep(60)
"""


def is_running(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as stream:
            return stream.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
def test_a_task_ends_with_its_playbook() -> None:
    paths = os.pathsep.join(path for path in sys.path if path)
    with subprocess.Popen(
        [sys.executable, "-c", PLAYBOOK], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": paths}
    ) as playbook:
        assert playbook.stdout
        worker = int(playbook.stdout.readline())
        assert is_running(worker)
        playbook.send_signal(signal.SIGKILL)
        playbook.wait()
        deadline = time.monotonic() + 10
        while is_running(worker) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not is_running(worker)
