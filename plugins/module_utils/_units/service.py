# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A systemd service as the input of its template, and the commands that it runs before its main process."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._backends.access import Reach
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.resources import Credential, UnitResources
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.identities import Spellings
from ansible_collections.directdisk.qemu.plugins.module_utils._units import paths as unit_paths
from ansible_collections.directdisk.qemu.plugins.module_utils._units.sandbox import Sandbox

START_MARGIN = 30
"""Seconds that systemd waits longer than the programs of a unit: each has the declared start_timeout as its own time
limit, and on a host under load it needs time to begin and to report what QEMU waits for."""

Args = list[tuple[str, ...]]
"""Arguments in groups that belong together: an option and its value make one line of the unit."""


@dataclass(frozen=True)
class Command:
    """A command that a unit runs before its main process starts or after it has ended."""

    argv: tuple[str, ...]
    privileged: bool = False
    """Run as root and outside the sandbox, to grant the VM's user the declared access."""
    optional: bool = False


@dataclass(frozen=True)
class Service:
    """One systemd service, ready for its template."""

    name: str
    template: str
    vm: str
    """The VM that it belongs to; empty for a staged image."""
    description: str
    args: Args
    sandbox: Sandbox
    credentials: dict[str, Credential]
    start_timeout: int
    stop_timeout: int = 10
    restart: str = "on-failure"
    """Restart= of systemd.service(5): QEMU ends with 0 when its guest powers off, and that is no failure."""
    launcher: str = ""
    """The program that systemd executes, and that executes these arguments in its place; empty for none."""
    pid_file: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    ready: tuple[str, ...] = ()
    """A command that returns when the process is ready."""
    before: tuple[Command, ...] = ()
    once_open: tuple[Command, ...] = ()
    """Commands that run after QEMU has opened its disks; the VM has started when they have succeeded."""
    after: tuple[Command, ...] = ()
    helpers: tuple[str, ...] = ()
    """Units that must run before this one."""
    opened: dict[str, bool] = field(default_factory=dict)
    """Identities of the storage that it opens, and if it writes to it."""
    spellings: Mapping[str, Spellings] = field(default_factory=dict)
    """Other names of it, by identity."""
    links_down: tuple[str, ...] = ()
    """Networks whose link is down."""
    start_check: Mapping[str, Any] = field(default_factory=dict)
    """The check of qemu-vm-control.py before it starts the guest."""
    largest_file: int = 0
    """Maximum size of a file that it may write, in bytes; 0 for no limit."""
    image: str = ""
    """The staged image that it fetches."""
    part: str = ""
    """The part of the VM that a helper serves, such as a disk: helpers of one part share a user; empty for QEMU."""
    capabilities: tuple[str, ...] = ()
    """Its capabilities (capabilities(7))."""
    binds: str = ""
    """The only port that it may listen on, as in SocketBindAllow=."""
    reloads: bool = False
    """If it may be restarted at any time, so that a change takes effect while the VM runs."""

    @property
    def start_limit(self) -> int:
        """Return the seconds after which systemd ends a start whose programs did not end it in time themselves."""
        return self.start_timeout + START_MARGIN

    @property
    def owner(self) -> str:
        """Return the prefix of the names of its credentials."""
        return unit_paths.owner_name(self.vm) if self.vm else unit_paths.image_owner_name(self.image)

    @property
    def user(self) -> str:
        """Return its dynamic user. A helper has another one than QEMU, which could otherwise read its secrets."""
        if not self.vm:
            return unit_paths.IMAGES
        return unit_paths.helper_user_name(self.vm, self.part) if self.part else unit_paths.user_name(self.vm)


def launcher_of(family: str) -> str:
    """Return the program through which systemd executes QEMU and swtpm on hosts of a family.

    The SELinux policy of Fedora and Red Hat does not let systemd execute QEMU (qemu_exec_t). It lets systemd execute
    bin_t, and the process that begins so, in the domain unconfined_service_t, execute anything.
    """
    return "/usr/bin/env" if family in ("redhat", "fedora") else ""


def grant_access(unit: str, user: str, reaches: Iterable[tuple[Reach, bool]]) -> tuple[list[Command], list[Command]]:
    """Return the commands that grant access to files, devices and sockets before the start, and revoke it afterwards.

    Access is revoked even if none was granted: the unit may replace one with access while that one runs.
    """
    paths: dict[str, list[str]] = {}
    for reach, writes in reaches:
        for path in (*reach.files, *reach.devices, *reach.sockets):
            paths.setdefault("rw" if writes or path in reach.sockets else "r", []).append(path)
    program = (*unit_paths.PYTHON, unit_paths.ACCESS_PROGRAM)
    granted = [word for mode, some in sorted(paths.items()) for word in (mode, *some)]
    before = [Command((*program, "grant", unit, user, *granted), privileged=True)] if granted else []
    return before, [Command((*program, "revoke", unit), privileged=True, optional=True)]


def keep_first(new: str, path: str) -> list[Command]:
    """Return the commands that rename a new file to its path unless one exists there, which is atomic."""
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
    # Unlike cat, sed writes to a file without a shell, and adds a missing newline at the end.
    commands += [
        Command(("/bin/sed", "--quiet", f"--expression=w {path}", "--", *parts))
        for path, parts in resources.joins.items()
    ]
    return commands
