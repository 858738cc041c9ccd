# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads tgt's configuration files on the storage host."""

from __future__ import annotations

import glob
import os
import re

from ansible_collections.directdisk.qemu.plugins.module_utils._image_plans.lun.server.kept import (
    FOLDER,
    KeptTarget,
    parse_kept,
)

MAIN = "/etc/tgt/targets.conf"


def read_kept(name: str) -> KeptTarget:
    """Read our configuration file of a target; return a target without LUNs if there is none."""
    try:
        with open(KeptTarget(name).path, encoding="utf-8") as file:
            return parse_kept(name, file.read())
    except FileNotFoundError:
        return KeptTarget(name)


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
