# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# pylint: disable=ansible-bad-function
# A program of its own, which modules import, too.
"""qemu-vm-record.py UNIT: record the files from which a unit and its VM's helpers were started.

A file is recorded with its version, a digest of its text. As even a digest tells something about a credential, its
version is made of inode, size and time. Versions are only compared for equality, so no clock matters.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Collection, Iterable
from typing import TypedDict

UNIT_FOLDERS = ("/etc/systemd/system", "/run/systemd/system")
"""Folders of unit files and drop-ins that people write; the collection writes to the first one."""
RECORDS = "/run/qemu-vms.started"
"""Folder of the records. Only root may enter it, and a reboot removes it together with the processes."""
CREDENTIALS = "/etc/credstore"
"""Beginning of the folders of credentials at rest."""
NOT_LOADED = ""
"""Version of a unit whose file systemd had not read when it started the unit."""
_UNTIL_RELOAD = re.compile(
    r"(?:After|BindPaths|Description|Device(?:Policy|Allow)|Exec\w+|IPAddress(?:Allow|Deny)|LoadCredential(?:Encrypted)?"
    r"|PartOf|PrivateDevices|RequiresMountsFor|Restart(?:Sec)?|SetCredential|StartLimit\w+|Timeout\w+|Wants)="
    r"|BindReadOnlyPaths=-"
)
"""Settings of a launch unit that its process does not keep, or that are compared in another way.

systemd takes some when it reloads, the command line is compared with that of the process, and disks are attached with
their files and secrets.
"""
LINKS_DOWN = "# Networks whose link is down: "
"""Begins the line of a launch unit that lists them: QEMU does not tell."""
_PUBLIC = re.compile(r"^SetCredential=([^:]+):(.*)$", re.M)
_LOADED = re.compile(r"^LoadCredential(?:Encrypted)?=[^:]+:(.+)$", re.M)

Files = dict[str, str]
"""Versions of files by path."""


class Record(TypedDict):
    """The files of one start, by unit."""

    invocation: str
    units: dict[str, Files]
    links_down: list[str]
    """Networks whose links were down then."""


def credential_version(path: str) -> str:
    """Return the version of a credential at rest; NOT_LOADED if there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return NOT_LOADED
    return f"{status.st_ino}:{status.st_size}:{status.st_mtime_ns}"


def drop_ins(units: Iterable[str]) -> dict[str, Files]:
    """Return the drop-ins of units (systemd.unit(5)): of their own names, and of the prefixes that end with a dash."""
    folders = [
        path
        for folder in UNIT_FOLDERS
        for path in glob.glob(f"{folder}/*.service.d") + glob.glob(f"{folder}/service.d")
    ]
    found: dict[str, Files] = {}
    for unit in units:
        names = {f"{unit}.d", "service.d", *(f"{unit[: end + 1]}.service.d" for end in _dashes(unit))}
        paths = [
            path for folder in folders if os.path.basename(folder) in names for path in glob.glob(f"{folder}/*.conf")
        ]
        found[unit] = {path: _digest(path) for path in sorted(paths)}
    return found


def is_drop_in(path: str) -> bool:
    return path.startswith(UNIT_FOLDERS) and path.endswith(".conf")


def files_of(units: Iterable[str]) -> dict[str, Files]:
    """Return the files of units as they are now: unit files, drop-ins, and credentials of the collection."""
    units = list(units)
    found = drop_ins(units)
    for unit in units:
        path = f"{UNIT_FOLDERS[0]}/{unit}"
        found[unit][path] = _digest(path)
        found[unit].update(kept_settings(unit, _text(path)))
        for credential in _credentials(path):
            found[unit][credential] = credential_version(credential)
    return found


def kept_settings(unit: str, text: str) -> Files:
    """Return the versions of what the process of a launch unit keeps until it ends: small files, and other settings."""
    lines = [line for line in text.split("\n") if line and not line.startswith((" ", "#"))]
    kept = "\n".join(line for line in lines if not _UNTIL_RELOAD.match(line))
    texts = {f"{unit}: {name}": _digest_of(value) for name, value in _PUBLIC.findall(text)}
    return {f"{unit}: settings": _digest_of(kept), **texts}


def _digest_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def units_with(unit: str) -> list[str]:
    """Return a unit and, for the launch unit of a VM, the units of its helpers."""
    name = unit.removesuffix(".service")
    helpers = glob.glob(f"{UNIT_FOLDERS[0]}/{glob.escape(name)}.*.*.service")
    return [unit, *sorted(map(os.path.basename, helpers))]


def record_path(unit: str) -> str:
    """Return the path of the record of a unit's last start."""
    return f"{RECORDS}/{unit}.json"


def recorded(unit: str, invocation: str) -> dict[str, Files] | None:
    """Return the files from which a unit was started, by unit; None if that start was not recorded."""
    record = _read(unit, invocation)
    return record["units"] if record else None


def links_down(unit: str, invocation: str) -> list[str]:
    """Return the networks whose links were down when a launch unit was started."""
    record = _read(unit, invocation)
    # A record of an earlier version of this program has none.
    return record.get("links_down", []) if record else []


def _read(unit: str, invocation: str) -> Record | None:
    try:
        with open(record_path(unit), encoding="utf-8") as stream:
            record: Record = json.load(stream)
    except (OSError, ValueError):
        return None
    return record if record["invocation"] == invocation else None


def record(unit: str, invocation: str) -> None:
    """Record the files from which a unit has just been started."""
    files = files_of(units_with(unit))
    for stale in _not_loaded(files):
        files[stale] = dict.fromkeys(files[stale], NOT_LOADED)
    lines = _text(f"{UNIT_FOLDERS[0]}/{unit}").split("\n")
    down = next((line[len(LINKS_DOWN) :].split() for line in lines if line.startswith(LINKS_DOWN)), [])
    _write(unit, {"invocation": invocation, "units": files, "links_down": down})


def update(unit: str, invocation: str, *, complete: bool, renewed: Collection[str] = ()) -> None:
    """Update the record of a launch unit whose VM was changed while it ran.

    Helpers and credentials that the VM has gained or lost since are those of now. complete: if the VM is as its unit
    says, so that the file itself counts as the one that it was started from. renewed: credentials whose
    new texts the process has been given, and helpers that were restarted with their new units.
    """
    record = _read(unit, invocation)
    if record is None:
        return
    before = record["units"]
    now = files_of(units_with(unit))
    units = {helper: files if helper in renewed else before.get(helper, files) for helper, files in now.items()}
    others = {path: version for path, version in (now if complete else units)[unit].items() if not _is_secret(path)}
    secrets = {
        path: version if path in renewed else units[unit].get(path, version)
        for path, version in now[unit].items()
        if _is_secret(path)
    }
    units[unit] = {**others, **secrets}
    _write(unit, {**record, "units": units})


def _is_secret(path: str) -> bool:
    return path.startswith(CREDENTIALS)


def _write(unit: str, record: Record) -> None:
    os.makedirs(RECORDS, mode=0o700, exist_ok=True)
    path = record_path(unit)
    with open(f"{path}.new", "w", encoding="utf-8") as stream:
        json.dump(record, stream)
    os.rename(f"{path}.new", path)


def _not_loaded(units: Iterable[str]) -> list[str]:
    """Return the units of which systemd has not read the newest file: a process runs from an older one."""
    command = ["systemctl", "show", "--property=Id,NeedDaemonReload", "--", *units]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    blocks = [dict(line.partition("=")[::2] for line in block.splitlines()) for block in done.stdout.split("\n\n")]
    return [block["Id"] for block in blocks if block.get("NeedDaemonReload") == "yes"]


def _dashes(unit: str) -> list[int]:
    return [match.start() for match in re.finditer("-", unit.removesuffix(".service"))]


def _credentials(path: str) -> list[str]:
    return [found for found in _LOADED.findall(_text(path)) if _is_secret(found)]


def _text(path: str) -> str:
    with contextlib.suppress(OSError), open(path, encoding="utf-8") as stream:
        return stream.read()
    return ""


def _digest(path: str) -> str:
    with contextlib.suppress(OSError), open(path, "rb") as stream:
        return hashlib.sha256(stream.read()).hexdigest()
    return NOT_LOADED


if __name__ == "__main__":
    record(sys.argv[1], os.environ["INVOCATION_ID"])
