# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restarts of running VMs, some at a time: shut down the guest, start the VM, and wait for its guest to be up.

A guest that does not shut down runs on, unless force is set. A VM that does not come up ends the restarts: what has
broken one guest would break the next one, too.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from ansible_collections.directdisk.qemu.plugins.module_utils._clients.qmp import Monitor
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError, QmpError
from ansible_collections.directdisk.qemu.plugins.module_utils._host import systemd
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.host_state import DesiredHost, DesiredVm
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.vm_states import RUNNING
from ansible_collections.directdisk.qemu.plugins.module_utils._programs.vms_resume import open_regular
from ansible_collections.directdisk.qemu.plugins.module_utils._units import paths

INTERVAL = 0.5
LOG_LINES = 16
_PIECE = 1 << 20
"""Bytes of a console's log that are searched at a time."""

Failures = dict[str, list[str]]
"""Lines by VM."""


def shut_down(desired: DesiredHost, names: Iterable[str]) -> Failures:
    """Shut down guests and stop their VMs; return those that run on, with the reasons."""
    vms = {name: desired["vms"][name] for name in names}
    if not vms:
        return {}
    if desired["restarts"]["force"]:
        systemd.stop_vms([vm["unit"] for vm in vms.values()])
        return {}
    refused: Failures = {}
    with ThreadPoolExecutor(8) as pool:
        for name, problem in zip(vms, pool.map(_press_power_button, vms)):
            if problem:
                refused[name] = [problem]
    waiting = [name for name in vms if name not in refused]
    began = time.monotonic()
    while waiting:
        states = systemd.show([vms[name]["unit"] for name in waiting])
        waited = time.monotonic() - began
        for name in list(waiting):
            if states[vms[name]["unit"]]["active"] not in RUNNING:
                waiting.remove(name)
            elif waited > vms[name]["stop_timeout"]:
                waiting.remove(name)
                refused[name] = [
                    f"vm {name}: is not restarted: its guest has not shut down within stop_timeout "
                    f"({vms[name]['stop_timeout']} s) and runs on; shut it down, or run with "
                    "-e qemu_vms_restart_force=true"
                ]
        time.sleep(INTERVAL if waiting else 0)
    ended = [vm["unit"] for name, vm in vms.items() if name not in refused]
    # Also keeps systemd from starting a VM with on_poweroff: restart before its turn.
    systemd.stop_vms(ended)
    return refused


def _press_power_button(name: str) -> str:
    """Ask a guest to shut down; return why it cannot be asked."""
    try:
        with Monitor.connect(paths.qmp_socket(name)) as monitor:
            # A guest that is paused cannot see the power button.
            monitor.execute("cont")
            monitor.execute("system_powerdown")
    except QmpError as error:
        return f"vm {name}: is not restarted: its guest cannot be asked to shut down: {error}"
    return ""


def restart_in_turn(desired: DesiredHost, names: Sequence[str]) -> Failures:
    """Restart VMs, as many at a time as the run allows; return those that failed or run on, with the reasons."""
    failures: Failures = {}
    waiting = list(names)
    while waiting:
        size = desired["restarts"]["serial"] or len(waiting)
        batch, waiting = waiting[:size], waiting[size:]
        broken = _restart(desired, batch, failures)
        if broken:
            for name in waiting:
                failures[name] = [f"vm {name}: is not restarted, because {broken[0]} is not up after its restart"]
            return failures
    return failures


def _restart(desired: DesiredHost, batch: Sequence[str], failures: Failures) -> list[str]:
    """Restart VMs together and add failures; return the VMs that have stopped and are not up again."""
    ends = {name: _size(paths.console_log(name)) for name in batch}
    refused = shut_down(desired, batch)
    failures.update(refused)
    down = {name: desired["vms"][name] for name in batch if name not in refused}
    if not down:
        return []
    # The states of the units show which VM has failed.
    with suppress(HostError):
        systemd.systemctl("start", [vm["unit"] for vm in down.values()])
    broken = await_ready(down, {name: ends[name] for name in down})
    failures.update(broken)
    return list(broken)


def await_ready(vms: dict[str, DesiredVm], ends: dict[str, int]) -> Failures:
    """Wait until guests are up; return those that are not. ends: the sizes of the consoles' logs before the start."""
    broken: Failures = {}
    waiting, searched = dict(vms), dict(ends)
    began = time.monotonic()
    while waiting:
        states = systemd.show([vm["unit"] for vm in waiting.values()])
        for name, vm in list(waiting.items()):
            text, limit = vm["ready_console"], vm["ready_timeout"]
            if states[vm["unit"]]["active"] not in RUNNING:
                broken[name] = systemd.last_log_lines([*vm["units"], *vm["staged"]], LOG_LINES)
                del waiting[name]
            elif not text or _is_written(name, text, searched):
                del waiting[name]
            elif time.monotonic() - began > limit:
                broken[name] = [
                    f"vm {name}: runs, and its console has not shown {text!r} within {limit} s (ready_when); look at "
                    f"{paths.console_log(name)}"
                ]
                del waiting[name]
        time.sleep(INTERVAL if waiting else 0)
    return broken


def _size(path: str) -> int:
    try:
        return os.stat(path, follow_symlinks=False).st_size
    except OSError:
        return 0


def _is_written(name: str, text: str, searched: dict[str, int]) -> bool:
    """Return if a guest has written a text to its console since the last call; searched: sizes of the logs then."""
    path = paths.console_log(name)
    size = _size(path)
    # A timer shortens a long log from its beginning.
    begin = searched[name] if searched[name] <= size else 0
    try:
        handle = open_regular(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        data = os.pread(handle, _PIECE, begin)
    finally:
        os.close(handle)
    wanted = text.encode()
    if wanted in data:
        return True
    # The text may be written in two pieces.
    searched[name] = max(begin, begin + len(data) - len(wanted) + 1)
    return False
