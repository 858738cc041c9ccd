# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Client of the tgtd of a storage host: its management socket, and its configuration files.

tgtadm would need a password on its command line; its protocol does not.
"""

from __future__ import annotations

import glob
import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

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
FOLDER = "/etc/tgt/conf.d"
MAIN = "/etc/tgt/targets.conf"
OURS = "directdisk."
"""Prefix of the names of our configuration files, one for each target."""

_ALL_TARGETS = -1


class TgtRefused(HostError):
    """tgtd answered with an error."""


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

    def targets(self) -> dict[str, dict[str, Any]]:
        return parse_targets(self.ask(SHOW, TARGET, tid=_ALL_TARGETS))

    def accounts(self) -> list[str]:
        return [line.strip() for line in self.ask(SHOW, ACCOUNT).splitlines()[1:] if line.strip()]


def parse_targets(shown: str) -> dict[str, dict[str, Any]]:
    """Parse the output of ``tgtadm --op show --mode target``, by the targets' names."""
    targets: dict[str, dict[str, Any]] = {}
    target: dict[str, Any] = {}
    section, lun = "", {}
    for line in shown.splitlines():
        depth, text = (len(line) - len(line.lstrip())) // 4, line.strip()
        name, _colon, value = text.partition(": ")
        if depth == 0 and name.startswith("Target "):
            target = {"tid": int(name.split()[1]), "accounts": [], "initiators": [], "sessions": [], "luns": {}}
            targets[value] = target
        elif depth == 1:
            section = text
        elif section == "I_T nexus information:" and name == "Initiator":
            target["sessions"].append(value.partition(" ")[0])
        elif section == "LUN information:" and name == "LUN":
            lun = target["luns"].setdefault(int(value), {})
        elif section == "LUN information:":
            lun[name] = value
        elif section == "Account information:" and not text.endswith(" (outgoing)"):
            target["accounts"].append(text)
        elif section == "ACL information:":
            target["initiators"].append(text)
    return targets


@dataclass(frozen=True)
class KeptLun:
    """A LUN in a configuration file."""

    store: str
    serial: str
    thin: bool = False
    read_only: bool = False

    def parameters(self) -> dict[str, str]:
        """Return tgtd's parameters of an existing LUN; thin is last, because it changes pages that others fill."""
        return {
            "scsi_sn": self.serial,
            "scsi_id": self.serial,
            "readonly": str(int(self.read_only)),
            "thin_provisioning": str(int(self.thin)),
        }


@dataclass(frozen=True)
class KeptTarget:
    """A target in a configuration file."""

    name: str
    luns: Mapping[int, KeptLun] = field(default_factory=dict)
    user: str = ""
    password: str = field(default="", repr=False)
    initiators: tuple[str, ...] = ()

    @property
    def path(self) -> str:
        return f"{FOLDER}/{OURS}{quote(self.name, safe=':')}.conf"

    def text(self) -> str:
        lines = ["# Kept by directdisk.qemu.qemu_iscsi_disk.", f"<target {self.name}>"]
        lines += [f"  incominguser {self.user} {self.password}"] if self.user else []
        for initiator in self.initiators:
            lines.append(f"  initiator-{'name' if is_name(initiator) else 'address'} {initiator}")
        for number, lun in sorted(self.luns.items()):
            parameters = lun.parameters()
            thin = parameters.pop("thin_provisioning")
            lines += [f"  <backing-store {lun.store}>", f"    lun {number}"]
            lines += [f"    {name} {value}" for name, value in parameters.items()]
            lines += [f"    params thin_provisioning={thin}", "  </backing-store>"]
        return "\n".join([*lines, "</target>", ""])


def is_name(initiator: str) -> bool:
    """Return True if an initiator is declared by its name, not by its address."""
    return initiator.startswith(("iqn.", "eui.", "naa."))


def read_kept(name: str) -> KeptTarget:
    """Read our configuration file of a target; return a target without LUNs if there is none."""
    try:
        with open(KeptTarget(name).path, encoding="utf-8") as file:
            return parse_kept(name, file.read())
    except FileNotFoundError:
        return KeptTarget(name)


def parse_kept(name: str, text: str) -> KeptTarget:
    luns: dict[int, KeptLun] = {}
    for store, body in re.findall(r"<backing-store (\S+)>\n(.*?)</backing-store>", text, re.DOTALL):
        values = dict(line.split(None, 1) for line in body.splitlines() if len(line.split(None, 1)) == 2)
        thin = values.get("params") == "thin_provisioning=1"
        luns[int(values["lun"])] = KeptLun(store, values.get("scsi_sn", ""), thin, values.get("readonly") == "1")
    user = re.search(r"^  incominguser (\S+) (\S+)$", text, re.MULTILINE)
    initiators = tuple(re.findall(r"^  initiator-(?:name|address) (\S+)$", text, re.MULTILINE))
    return KeptTarget(name, luns, user[1] if user else "", user[2] if user else "", initiators)


def declared_elsewhere(name: str) -> str:
    """Return the foreign configuration file that has a target; empty if none has."""
    for path, text in _others(KeptTarget(name).path):
        if re.search(rf"^\s*<target\s+\"?{re.escape(name)}\"?\s*>", text, re.MULTILINE):
            return path
    return ""


def passwords_of(user: str) -> set[str]:
    """Return the passwords of an account in all configuration files: an account is common to all targets."""
    pattern = rf"^\s*incominguser\s+\"?{re.escape(user)}\"?\s+\"?([^\s\"]+)"
    return {found for _path, text in _others("") for found in re.findall(pattern, text, re.MULTILINE)}


def _others(own: str) -> list[tuple[str, str]]:
    """Read all configuration files but one."""
    files = []
    for path in (MAIN, *sorted(glob.glob(f"{FOLDER}/*.conf"))):
        if path != own and os.path.exists(path):
            with open(path, encoding="utf-8", errors="replace") as file:
                files.append((path, file.read()))
    return files
