# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The few calls of systemctl and journalctl that a host needs, each for all units at once."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Sequence
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError
from ansible_collections.directdisk.qemu.plugins.module_utils._printable import printable

_PROPERTIES = ("Id", "ActiveState", "UnitFileState", "NeedDaemonReload", "InvocationID")


def systemctl(verb: str, units: Iterable[str] = (), *options: str) -> None:
    """Run one systemctl call; HostError with systemd's words where it fails."""
    command = ["systemctl", verb, "--quiet", "--no-ask-password", *options, "--", *units]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise HostError(f"systemctl {verb}: {done.stderr.strip() or done.stdout.strip()}")


def show(units: Sequence[str]) -> dict[str, dict[str, Any]]:
    """States of units, by name; a unit that systemd does not know is inactive and not enabled."""
    if not units:
        return {}
    command = ["systemctl", "show", f"--property={','.join(_PROPERTIES)}", "--", *units]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise HostError(f"systemctl show: {done.stderr.strip()}")
    states = {}
    for block in done.stdout.strip().split("\n\n"):
        facts = dict(line.partition("=")[::2] for line in block.splitlines())
        states[facts["Id"]] = {
            "active": facts["ActiveState"],
            "enabled": facts["UnitFileState"] == "enabled",
            "reload": facts["NeedDaemonReload"] == "yes",
            "invocation": facts.get("InvocationID", ""),
        }
    return states


_CHATTER = re.compile(
    r"(Starting|Started|Stopping|Stopped|Finished) |\S+: (Scheduled restart job|Deactivated successfully|Consumed )"
)
"""What systemd says of every start and stop: a unit that tries again and again would fill the last lines with it."""


def last_log_lines(units: Sequence[str], count: int) -> list[str]:
    """The last lines that units wrote to the journal, and what systemd said of their failures."""
    command = [
        "journalctl",
        "--no-pager",
        "--quiet",
        "--output=cat",
        f"--lines={8 * count}",
        *(f"--unit={unit}" for unit in units),
    ]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    return [printable(line) for line in done.stdout.split("\n") if line and not _CHATTER.match(line)][-count:]
