# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Client of the tgtd of a storage host, by its management socket.

tgtadm would need a password on its command line; its protocol does not.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass, field

from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError
from ansible_collections.directdisk.qemu.plugins.module_utils._process.locks import locked
from ansible_collections.directdisk.qemu.plugins.module_utils._programs.tgt_serve import (
    ACCOUNT,
    SHOW,
    TARGET,
    Ended,
    Refused,
    exchange,
)

SOCKET = "/var/run/tgtd/socket.0"
LOCK = "/run/qemu-tgt.lock"
LOCK_SECONDS = 300.0
"""Time that a run waits for others, which may be many hosts with disks on this storage host."""

_ALL_TARGETS = -1


class TgtRefused(HostError):
    """tgtd answered with an error."""


@dataclass(frozen=True)
class Lun:
    """A LUN of a target; shown: what tgtadm prints of it, by name."""

    shown: dict[str, str] = field(default_factory=dict)

    @property
    def store(self) -> str:
        return self.shown["Backing store path"]

    @property
    def serial(self) -> str:
        return self.shown["SCSI SN"]

    @property
    def thin(self) -> bool:
        return self.shown["Thin-provisioning"] == "Yes"

    @property
    def read_only(self) -> bool:
        return self.shown["Readonly"] == "Yes"


@dataclass(frozen=True)
class Target:
    """A target that tgtd exports."""

    tid: int
    accounts: list[str] = field(default_factory=list)
    initiators: list[str] = field(default_factory=list)
    """Names and addresses that may log in."""
    sessions: list[str] = field(default_factory=list)
    """Names of the initiators that are logged in."""
    luns: dict[int, Lun] = field(default_factory=dict)


class Tgtd:
    """The tgtd that runs on this host, for one run at a time."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._lock = locked(LOCK, 0, seconds=LOCK_SECONDS, subject="this host's tgtd")

    def __enter__(self) -> Tgtd:
        self._lock.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._lock.__exit__(None, None, None)

    def ask(self, operation: int, mode: int, text: str = "", *, tid: int = 0, lun: int = 0, force: bool = False) -> str:
        """Send one request and return the text of the answer."""
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(self._seconds)
                connection.connect(SOCKET)
                return exchange(connection, mode, operation, text, tid=tid, lun=lun, force=force)
        except OSError as error:
            advice = "run this on tgtd's host (delegate_to: the storage host), and start tgtd there"
            raise HostError(f"tgtd: {SOCKET}: {error.strerror or error}; {advice}") from None
        except Ended:
            raise HostError("tgtd ended instead of answering; read its log") from None
        except Refused as error:
            raise TgtRefused(f"tgtd: {error}") from None

    def targets(self) -> dict[str, Target]:
        return parse_targets(self.ask(SHOW, TARGET, tid=_ALL_TARGETS))

    def accounts(self) -> list[str]:
        return [line.strip() for line in self.ask(SHOW, ACCOUNT).splitlines()[1:] if line.strip()]


def parse_targets(shown: str) -> dict[str, Target]:
    """Parse the output of ``tgtadm --op show --mode target``, by the targets' names."""
    targets: dict[str, Target] = {}
    target, lun, section = Target(0), Lun(), ""
    for line in shown.splitlines():
        depth, text = (len(line) - len(line.lstrip())) // 4, line.strip()
        name, _colon, value = text.partition(": ")
        if depth == 0 and name.startswith("Target "):
            target = targets[value] = Target(int(name.split()[1]))
        elif depth == 1:
            section = text
        elif section == "I_T nexus information:" and name == "Initiator":
            target.sessions.append(value.partition(" ")[0])
        elif section == "LUN information:" and name == "LUN":
            lun = target.luns.setdefault(int(value), Lun())
        elif section == "LUN information:":
            lun.shown[name] = value
        elif section == "Account information:" and not text.endswith(" (outgoing)"):
            target.accounts.append(text)
        elif section == "ACL information:":
            target.initiators.append(text)
    return targets
