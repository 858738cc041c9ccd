# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A pure cgroup2 tree for podman, also on machines whose /sys/fs/cgroup is v1 or hybrid.

There, a holder process owns a mount namespace in which /sys/fs/cgroup is cgroup2; podman calls enter it.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from .hosts import HOSTS
from .settings import Settings
from .shell import LabError, run

HOLD = 'exec -a "$0" sleep infinity'
MAKE_TREE = "umount -R /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup"


def machine_is_cgroup2() -> bool:
    return run(["stat", "--file-system", "--format=%T", "/sys/fs/cgroup"]).strip() == "cgroup2fs"


def _mark(settings: Settings) -> str:
    return f"directdisk-lab holder {settings.state}"


def _pid_file(settings: Settings) -> Path:
    return settings.state / "holder.pid"


def holder(settings: Settings) -> int | None:
    """The pid of this lab's holder, if it lives and is ours."""
    try:
        pid = int(_pid_file(settings).read_text())
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (OSError, ValueError):
        return None
    return pid if words[0].decode() == _mark(settings) else None


def _monitors(settings: Settings) -> dict[str, int]:
    """Pids by container name of podman's monitor processes: they live in the namespace, too."""
    storage = str(settings.cache / "storage")
    found = {}
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if words[0].endswith("conmon") and storage in words and "-n" in words:
            found[words[words.index("-n") + 1]] = int(path.parent.name)
    return found


def _holder_command(settings: Settings) -> list[str]:
    """Into the namespace of containers that outlived their holder, else into a new one."""
    monitors = _monitors(settings)
    ours = [monitors[name] for name in map(settings.container, HOSTS) if name in monitors]
    if ours:
        return ["nsenter", f"--mount=/proc/{ours[0]}/ns/mnt", "--", "bash", "-c", HOLD]
    if not monitors:  # what podman remembers of running containers is wrong, as after a restart
        shutil.rmtree(settings.run, ignore_errors=True)
        settings.run.mkdir(parents=True)
    return ["unshare", "--mount", "--propagation=private", "bash", "-c", f"{MAKE_TREE} && {HOLD}"]


def _start_holder(settings: Settings) -> int:
    process = subprocess.Popen(
        [*_holder_command(settings), _mark(settings)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        cwd="/",
    )
    _pid_file(settings).parent.mkdir(parents=True, exist_ok=True)
    _pid_file(settings).write_text(f"{process.pid}\n")
    for _attempt in range(100):
        if holder(settings):
            return process.pid
        if process.poll() is not None:
            break
        time.sleep(0.05)
    raise LabError("no cgroup2 namespace: is cgroup v2 built into this kernel, and are you root?")


def enter(settings: Settings) -> list[str]:
    """The words to put before a podman call; starts the holder when one is needed."""
    if machine_is_cgroup2():
        return []
    return [
        "nsenter",
        f"--mount=/proc/{holder(settings) or _start_holder(settings)}/ns/mnt",
        "--",
    ]


def leave(settings: Settings) -> None:
    """End the holder, and nothing else."""
    pid = holder(settings)
    if pid is None:
        return
    os.kill(pid, signal.SIGTERM)
    for _attempt in range(100):
        if holder(settings) is None:
            return
        time.sleep(0.05)
    raise LabError(f"holder {pid} does not end")
