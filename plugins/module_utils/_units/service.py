# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A systemd service as its template takes it, and the small commands that it runs before its process."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._backends.access import Reach
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.resources import Credential, UnitResources
from ansible_collections.directdisk.qemu.plugins.module_utils._units import paths as unit_paths
from ansible_collections.directdisk.qemu.plugins.module_utils._units.sandbox import Sandbox

Args = list[tuple[str, ...]]
"""Arguments in groups that belong together: an option and its value make one line of the unit."""


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
    """The machine that it belongs to; empty for a staged image."""
    description: str
    args: Args
    sandbox: Sandbox
    credentials: dict[str, Credential]
    start_timeout: int
    stop_timeout: int = 10
    restart: str = "on-failure"
    """Restart= of systemd.service(5): QEMU ends with 0 when its guest powers off, and that is no failure."""
    pid_file: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    ready: tuple[str, ...] = ()
    """A command that returns once the process is ready for others."""
    before: tuple[Command, ...] = ()
    once_open: tuple[Command, ...] = ()
    """Commands that run once QEMU has opened its disks; the machine has started when they have succeeded."""
    after: tuple[Command, ...] = ()
    helpers: tuple[str, ...] = ()
    """Units that must run before this one."""
    opened: dict[str, bool] = field(default_factory=dict)
    """Identities of the storage that it opens, and whether it writes to it."""
    start_check: dict[str, Any] = field(default_factory=dict)
    """What qemu-vm-control.py compares before it lets the guest run."""
    largest_file: int = 0
    """Bytes of the largest file that it may write; 0 for any."""
    image: str = ""
    """The staged image that it fetches."""
    part: str = ""
    """The part of the VM that a helper serves, such as a disk: helpers of one part share a user; empty for QEMU."""
    capabilities: tuple[str, ...] = ()
    """What it may do that other users may not (capabilities(7))."""
    binds: str = ""
    """The only port that it may listen at, as in SocketBindAllow=."""
    reloads: bool = False
    """Whether it may start again at any time, so that a change of it takes effect while the machine runs."""

    @property
    def owner(self) -> str:
        """What the names of its credentials begin with."""
        return unit_paths.owner_name(self.vm) if self.vm else unit_paths.image_owner_name(self.image)

    @property
    def user(self) -> str:
        """Its dynamic user. A helper has another one than QEMU, which could read its memory and secrets otherwise."""
        if not self.vm:
            return unit_paths.IMAGES
        return unit_paths.helper_user_name(self.vm, self.part) if self.part else unit_paths.user_name(self.vm)


def grant_access(unit: str, user: str, reaches: Iterable[tuple[Reach, bool]]) -> tuple[list[Command], list[Command]]:
    """Access lists for files, devices and sockets, for as long as a unit runs: before its start, and after its stop.

    The second is there without the first, too: the unit may replace one that was granted something, while that runs.
    """
    paths: dict[str, list[str]] = {}
    for reach, writes in reaches:
        for path in (*reach.files, *reach.devices, *reach.sockets):
            paths.setdefault("rw" if writes or path in reach.sockets else "r", []).append(path)
    program = ("/usr/bin/python3", "-IS", unit_paths.ACCESS_PROGRAM)
    granted = [word for mode, some in sorted(paths.items()) for word in (mode, *some)]
    before = [Command((*program, "grant", unit, user, *granted), privileged=True)] if granted else []
    return before, [Command((*program, "revoke", unit), privileged=True, optional=True)]


def keep_first(new: str, path: str) -> list[Command]:
    """Rename a new file into its place unless there is one already; never half a file, never a second first one."""
    return [
        Command(("/bin/mv", "--no-clobber", "--", new, path), optional=True),
        Command(("/bin/rm", "--force", "--", new)),
    ]


def link_commands(resources: UnitResources) -> list[Command]:
    commands = []
    for folder, files in resources.links.items():
        commands.append(Command(("/bin/mkdir", "--parents", "--", folder)))
        commands += [
            Command(("/bin/ln", "--symbolic", "--force", "--", source, f"{folder}/{name}"))
            for name, source in files.items()
        ]
    # Without a shell cat has nowhere to write to; sed does, and ends a last line that is not ended.
    commands += [
        Command(("/bin/sed", "--quiet", f"--expression=w {path}", "--", *parts))
        for path, parts in resources.joins.items()
    ]
    return commands
