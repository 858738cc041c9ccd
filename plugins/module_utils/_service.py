# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A systemd service as its template takes it, and the small commands that it runs before its process."""

from __future__ import annotations

from dataclasses import dataclass, field

from ansible_collections.directdisk.qemu.plugins.module_utils._machine import Args
from ansible_collections.directdisk.qemu.plugins.module_utils._sandbox import Sandbox
from ansible_collections.directdisk.qemu.plugins.module_utils._wiring import Credential, Wiring


@dataclass(frozen=True)
class Command:
    """A command that a unit runs before its main process starts or after it has ended."""

    argv: tuple[str, ...]
    privileged: bool = False
    """Run as root and outside the sandbox, to grant the machine's user what it was declared to have."""
    optional: bool = False


@dataclass(frozen=True)
class Service:
    """One systemd service, ready for its template."""

    name: str
    template: str
    vm: str
    description: str
    args: Args
    sandbox: Sandbox
    credentials: dict[str, Credential]
    start_timeout: int
    stop_timeout: int = 10
    pid_file: str = ""
    before: tuple[Command, ...] = ()
    after: tuple[Command, ...] = ()
    helpers: tuple[str, ...] = ()
    """Units that must run before this one."""
    opened: dict[str, bool] = field(default_factory=dict)
    """Identities of the storage that it opens, and whether it writes to it."""


def keep_first(new: str, path: str) -> list[Command]:
    """Rename a new file into its place unless there is one already; never half a file, never a second first one."""
    return [
        Command(("/bin/mv", "--no-clobber", new, path), optional=True),
        Command(("/bin/rm", "--force", new)),
    ]


def link_commands(wiring: Wiring) -> list[Command]:
    commands = []
    for folder, files in wiring.links.items():
        commands.append(Command(("/bin/mkdir", "--parents", folder)))
        commands += [
            Command(("/bin/ln", "--symbolic", "--force", source, f"{folder}/{name}")) for name, source in files.items()
        ]
    return commands
