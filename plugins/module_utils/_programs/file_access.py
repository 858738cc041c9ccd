# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# pylint: disable=ansible-bad-function
# A program of its own, which modules import, too.
"""qemu-vm-access.py grant UNIT USER [MODE PATH...]... | revoke UNIT: access lists for what a unit's process opens.

MODE: r or rw, for the absolute paths that follow it. What a unit was granted is kept in a list below LISTS, and taken
back by that list: the unit's file may have been replaced meanwhile, or the host may have crashed. The users of units
are dynamic, so another unit may get the number of this one later. After a VM, revoke also stops those of its helpers
that lost their unit while the VM ran.
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Collection, Iterable

from ansible_collections.directdisk.qemu.plugins.module_utils._programs.opened_path import open_path

LISTS = "/var/lib/qemu-vms-access"
RUN = "/run"
SETFACL = "/usr/bin/setfacl"

Grant = tuple[int, str]
"""A UID and a path."""


def read_list(unit: str) -> set[Grant]:
    """Read the list of a unit; empty if it was granted nothing."""
    with contextlib.suppress(FileNotFoundError), open(f"{LISTS}/{unit}", encoding="utf-8") as stream:
        return set(map(tuple, json.load(stream)))
    return set()


def write_list(unit: str, grants: Iterable[Grant]) -> None:
    """Replace the list of a unit; remove it if it is empty."""
    path, listed = f"{LISTS}/{unit}", sorted(grants)
    if not listed:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        return
    os.makedirs(LISTS, mode=0o700, exist_ok=True)
    # Another unit may read all lists at any time, and the host may crash.
    with open(_unfinished(unit), "w", encoding="utf-8") as stream:
        json.dump(listed, stream)
        stream.flush()
        os.fsync(stream.fileno())
    os.rename(_unfinished(unit), path)


def _unfinished(unit: str) -> str:
    return f"{LISTS}/.{unit}"


def _units_with_lists() -> list[str]:
    return [name for name in os.listdir(LISTS) if not name.startswith(".")]


def take_back(unit: str, grants: Iterable[Grant]) -> set[Grant]:
    """Remove entries of access lists; return those that could not be removed."""
    others = {grant for other in _units_with_lists() if other != unit for grant in read_list(other)}
    left = set()
    for uid, path in set(grants) - others:
        command = [SETFACL, "--remove", f"user:{uid}", "--", path]
        if os.path.exists(path) and subprocess.run(command, check=False).returncode:
            left.add((uid, path))
    return left


def grant(unit: str, user: str, words: Iterable[str]) -> int:
    """Grant access; return the exit status of the last setfacl that failed, or 0."""
    uid, mode, paths = pwd.getpwnam(user).pw_uid, "", dict[str, str]()
    for word in words:
        if word in ("r", "rw"):
            mode = word
        else:
            paths[word] = mode
    granted, wanted = read_list(unit), {(uid, path) for path in paths}
    # First the list: whatever happens next, what it names is taken back.
    write_list(unit, granted | wanted)
    write_list(unit, take_back(unit, granted - wanted) | wanted)
    status = 0
    for mode in sorted(set(paths.values())):
        status = _modify(f"user:{uid}:{mode}", [path for path in paths if paths[path] == mode]) or status
    return status


def _modify(entry: str, paths: Iterable[str]) -> int:
    """Add an entry to the access lists of files; return setfacl's exit status, or 1 if a file must not be opened."""
    places = dict[str, str]()
    with contextlib.ExitStack() as opened:
        for path in paths:
            try:
                handle = open_path(path)
            except OSError as error:
                print(f"{path}: {error.strerror}", file=sys.stderr)
                return 1
            opened.callback(os.close, handle)
            # By its handle: the name may belong to another file by now.
            places[f"/proc/{os.getpid()}/fd/{handle}"] = path
        done = subprocess.run(
            [SETFACL, "--modify", entry, "--", *places],
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            check=False,
        )
    message = done.stderr
    for place, path in places.items():
        message = message.replace(f"{place}:", f"{path}:")
    sys.stderr.write(message)
    return done.returncode


def revoke_paths(unit: str, paths: Collection[str]) -> None:
    """Take back what a unit whose process runs on was granted for these paths."""
    granted = read_list(unit)
    gone = {one for one in granted if one[1] in paths}
    if gone:
        write_list(unit, take_back(unit, gone) | (granted - gone))


def revoke(unit: str) -> int:
    granted = read_list(unit)
    if granted:
        write_list(unit, take_back(unit, granted))
    return 0


def end_orphans(unit: str) -> None:
    """Stop the helpers of a VM whose unit files were removed while it ran: systemd lost their dependency."""
    owner = unit.rpartition(".")[0]
    command = ["systemctl", "list-units", "--plain", "--no-legend", "--state=not-found", f"{owner}.*.service"]
    listed = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False).stdout
    for orphan, _load, active, *_rest in map(str.split, listed.splitlines()):
        if active != "inactive":
            subprocess.run(["systemctl", "stop", "--", orphan], check=False)
            shutil.rmtree(f"{RUN}/{'.'.join(orphan.split('.')[:2])}", ignore_errors=True)


if __name__ == "__main__":
    if sys.argv[1] == "revoke":
        end_orphans(sys.argv[2])
        sys.exit(revoke(sys.argv[2]))
    sys.exit(grant(sys.argv[2], sys.argv[3], sys.argv[4:]))
