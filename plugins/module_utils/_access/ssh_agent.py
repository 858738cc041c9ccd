# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An ssh-agent for as long as disks are worked on, with the keys of one disk and no others."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping

from ansible_collections.directdisk.qemu.plugins.module_utils._access.confinement import Confinement
from ansible_collections.directdisk.qemu.plugins.module_utils._access.workspace import Workspace
from ansible_collections.directdisk.qemu.plugins.module_utils._backends.resources import Identity
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError
from ansible_collections.directdisk.qemu.plugins.module_utils._process.background import background_process
from ansible_collections.directdisk.qemu.plugins.module_utils._process.private_files import write_private
from ansible_collections.directdisk.qemu.plugins.module_utils._process.run import run_bounded


@contextlib.contextmanager
def agent(identities: Mapping[str, Identity], bench: Workspace) -> Iterator[str]:
    """Start an ssh-agent with the identities; yields its socket, for root and the workspace's processes."""
    own = tempfile.mkdtemp(prefix="agent-", dir=bench.folder)
    bench.give(own)
    path = f"{own}/sock"
    command = [*bench.confined(Confinement(network=True)), "/usr/bin/ssh-agent", "-D", "-a", path]
    try:
        with background_process(command, path, seconds=bench.open_timeout):
            for identity in identities.values():
                _add(identity, bench.root_folder, path, bench.open_timeout)
            yield path
    finally:
        shutil.rmtree(own, ignore_errors=True)


def _add(identity: Identity, folder: str, agent_path: str, seconds: float) -> None:
    """Add a key. ssh-add runs a program for the passphrase, with its question as the argument: cat prints that file.

    A program in the folder could not run if /run is mounted noexec. After a wrong passphrase ssh-add asks another
    question, for which there is no file.
    """
    question = f"{folder}/Enter passphrase for key: "
    files = {f"{folder}/key": identity.key, **({question: f"{identity.passphrase}\n"} if identity.passphrase else {})}
    for path, text in files.items():
        write_private(path, text)
    try:
        done = run_bounded(
            ["/usr/bin/ssh-add", "-q", "key"],
            seconds=seconds,
            cwd=folder,
            env={
                "PATH": "/usr/bin:/bin",
                "SSH_AUTH_SOCK": agent_path,
                "SSH_ASKPASS": "/bin/cat",
                "SSH_ASKPASS_REQUIRE": "force",
                "DISPLAY": "none",
            },
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
    finally:
        for path in files:
            os.unlink(path)
    if done.returncode:
        message = " ".join((done.stderr or done.stdout).split()) or "incorrect passphrase"
        raise HostError(f"ssh-add key: {'incorrect passphrase' if identity.passphrase else message}")
