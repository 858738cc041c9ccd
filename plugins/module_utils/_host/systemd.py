# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# pylint: disable=ansible-bad-function
"""Calls of systemctl and journalctl, each for all units at once."""

from __future__ import annotations

import glob
import itertools
import os
import re
import stat
import subprocess
from collections.abc import Collection, Iterable, Sequence

from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError, printable
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.host_state import UnitState
from ansible_collections.directdisk.qemu.plugins.module_utils._units import paths

_PROPERTIES = ("ActiveState", "LoadState", "UnitFileState", "NeedDaemonReload", "InvocationID", "MainPID")


def systemctl(verb: str, units: Iterable[str] = (), *options: str) -> None:
    """Run systemctl; raise HostError with systemd's message if it fails."""
    command = ["systemctl", verb, "--quiet", "--no-ask-password", *options, "--", *units]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise HostError(f"systemctl {verb}: {done.stderr.strip() or done.stdout.strip()}")


def stop_vms(units: Iterable[str]) -> None:
    """Stop VMs and their helpers, and wait for all of them.

    systemctl waits only for the units that are its arguments. A start while a helper still waits for its own stop keeps
    that helper, with the storage of its former unit.
    """
    stopped = set(units)
    if stopped:
        files = map(os.path.basename, glob.glob(paths.units_of_vms()))
        theirs = {name for name in files if paths.unit_name(paths.vm_of_unit(name)) in stopped}
        systemctl("stop", [*sorted(stopped), *sorted(theirs - stopped)])


def set_property(unit: str, *settings: str) -> None:
    """Change settings of a unit until the next boot, or until the drop-in is removed."""
    command = ["systemctl", "set-property", "--quiet", "--runtime", "--", unit, *settings]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise HostError(f"systemctl set-property {unit}: {done.stderr.strip()}")


def properties(units: Collection[str], names: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return properties of units as systemd shows them, by unit and name."""
    if not units:
        return {}
    command = ["systemctl", "show", f"--property={','.join(('Id', *names))}", "--", *units]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise HostError(f"systemctl show: {done.stderr.strip()}")
    blocks = [dict(line.partition("=")[::2] for line in one.splitlines()) for one in done.stdout.strip().split("\n\n")]
    return {block["Id"]: block for block in blocks}


def show(units: Sequence[str]) -> dict[str, UnitState]:
    """Return the states of units, by name; a unit that systemd does not know is inactive and not enabled."""
    return {
        unit: {
            "active": facts["ActiveState"],
            "enabled": facts["UnitFileState"] == "enabled",
            "masked": facts["LoadState"] == "masked",
            "reload": facts["NeedDaemonReload"] == "yes",
            "invocation": facts.get("InvocationID", ""),
            "pid": int(facts.get("MainPID") or 0),
        }
        for unit, facts in properties(units, _PROPERTIES).items()
    }


def states(units: Collection[str]) -> dict[str, UnitState]:
    """Return the same for all units of a host, most of which may be stopped.

    systemd would first load those that it has not loaded, which takes it longer than all the rest of an observation.
    Their state is what their files say.
    """
    loaded = _loaded() if units else set()
    stopped = {unit for unit in units if unit not in loaded and _is_plain_file(f"{paths.UNIT_DIRECTORY}/{unit}")}
    enabled = _enabled() if stopped else set()
    return {
        **show([unit for unit in units if unit not in stopped]),
        **{unit: _stopped(enabled=unit in enabled) for unit in stopped},
    }


def _loaded() -> set[str]:
    """Return the units of the collection that systemd has in memory."""
    command = ["systemctl", "list-units", "--all", "--full", "--plain", "--no-legend", "--no-pager", "--", "qemu-*"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise HostError(f"systemctl list-units: {done.stderr.strip()}")
    return {line.split()[0] for line in done.stdout.splitlines() if line.strip()}


def _is_plain_file(path: str) -> bool:
    """Return if a unit has a file of its own; a link to /dev/null and an empty file mask it (systemd.unit(5))."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return False
    return stat.S_ISREG(status.st_mode) and status.st_size > 0


def _enabled() -> set[str]:
    """Return the units that others want or require by links, which is what ``systemctl enable`` makes."""
    links = (glob.iglob(f"{paths.UNIT_DIRECTORY}/*.{kind}/qemu-*") for kind in ("wants", "requires"))
    return {os.path.basename(link) for link in itertools.chain(*links)}


def _stopped(*, enabled: bool) -> UnitState:
    return {"active": "inactive", "enabled": enabled, "masked": False, "reload": False, "invocation": "", "pid": 0}


_CHATTER = re.compile(
    r"(Starting|Started|Stopping|Stopped|Finished) |\S+: (Scheduled restart job|Deactivated successfully|Consumed )"
)
"""Messages of systemd about every start and stop, with which a unit that restarts repeatedly would fill its log."""


_CURSOR = "-- cursor: "


def end_of_journal() -> str:
    """Return the cursor of the journal's last entry; empty if there is none."""
    command = ["journalctl", "--no-pager", "--quiet", "--output=cat", "--lines=1", "--show-cursor"]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    last = (done.stdout.splitlines() or [""])[-1]
    return last.removeprefix(_CURSOR) if last.startswith(_CURSOR) else ""


def last_log_lines(units: Sequence[str], count: int, *, after: str = "") -> list[str]:
    """Return the last lines of units in the journal, and systemd's messages about their failures.

    after: a cursor; lines before it are those of earlier starts.
    """
    command = [
        "journalctl",
        "--no-pager",
        "--quiet",
        "--output=cat",
        # With a cursor it counts from there on, and not back from the end.
        f"--after-cursor={after}" if after else f"--lines={8 * count}",
        *(f"--unit={unit}" for unit in units),
    ]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    return [printable(line) for line in done.stdout.split("\n") if line and not _CHATTER.match(line)][-count:]
