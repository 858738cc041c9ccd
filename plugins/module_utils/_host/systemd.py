# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# pylint: disable=ansible-bad-function
"""Calls of systemctl and journalctl, each for all units at once."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Collection, Iterable, Sequence

from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.host_state import UnitState
from ansible_collections.directdisk.qemu.plugins.module_utils._printable import printable

_PROPERTIES = ("ActiveState", "LoadState", "UnitFileState", "NeedDaemonReload", "InvocationID", "MainPID")


def systemctl(verb: str, units: Iterable[str] = (), *options: str) -> None:
    """Run systemctl; raise HostError with systemd's message if it fails."""
    command = ["systemctl", verb, "--quiet", "--no-ask-password", *options, "--", *units]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise HostError(f"systemctl {verb}: {done.stderr.strip() or done.stdout.strip()}")


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
