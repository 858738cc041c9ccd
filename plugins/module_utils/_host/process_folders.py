# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the folders of processes below /proc."""

from __future__ import annotations

import os
import re

LONGEST_COMMAND = 2 << 20
"""Bytes of arguments that a program can be executed with (execve(2)). A process may show any of its memory there."""


def command_line_of(folder: str) -> list[str]:
    """Return the arguments of a process; empty if it has ended meanwhile, is a kernel thread, or shows other memory."""
    try:
        with open(f"{folder}/cmdline", "rb") as stream:
            text = stream.read(LONGEST_COMMAND + 1)
    except OSError:
        return []
    if not text or len(text) > LONGEST_COMMAND:
        return []
    return [os.fsdecode(word) for word in text.rstrip(b"\0").split(b"\0")]


def services_of(folder: str) -> list[str]:
    """Return the services that a process belongs to, the innermost last; OSError if it has ended meanwhile."""
    with open(f"{folder}/cgroup", encoding="utf-8", errors="replace") as stream:
        return re.findall(r"/([^/\n]+\.service)(?=/|$)", stream.read(), re.MULTILINE)


def service_of(folder: str) -> str:
    """Return the service that a process belongs to; empty if it belongs to none."""
    try:
        services = services_of(folder)
    except OSError:
        return ""
    return services[-1] if services and not services[-1].startswith("user@") else ""
