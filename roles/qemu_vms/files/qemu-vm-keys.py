# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""qemu-vm-keys.py: give the ssh-agent of SSH_AUTH_SOCK the keys among this unit's credentials, and no others.

A credential is a private key; one named KEY.passphrase is what opens that key.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time

ASKPASS = "/usr/local/libexec/qemu-vm-askpass.sh"
AGENT_SECONDS = 10


def wait_for_agent() -> None:
    """The agent's process may be there before its socket."""
    deadline = time.monotonic() + AGENT_SECONDS
    while True:
        with socket.socket(socket.AF_UNIX) as agent:
            try:
                return agent.connect(os.environ["SSH_AUTH_SOCK"])
            except OSError as error:
                if time.monotonic() > deadline:
                    sys.exit(f"no ssh-agent answers at {os.environ['SSH_AUTH_SOCK']}: {error}")
        time.sleep(0.02)


def ssh_add(*arguments: str, passphrase: str = os.devnull) -> None:
    """Run ssh-add; it never asks a person."""
    environment = {
        **os.environ,
        "SSH_ASKPASS": ASKPASS,
        "SSH_ASKPASS_REQUIRE": "force",
        "DISPLAY": "none",
        "QEMU_VM_PASSPHRASE": passphrase,
    }
    done = subprocess.run(
        ["ssh-add", *arguments], env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        # It has nothing to say where no passphrase was to be had.
        words = " ".join((done.stderr or done.stdout).split()) or "incorrect passphrase"
        sys.exit(f"ssh-add {' '.join(arguments)}: {words}")


def load(folder: str) -> None:
    """A key that is gone from the declaration leaves the agent too."""
    ssh_add("-q", "-D")
    files = {entry.path for entry in os.scandir(folder)}
    for key in sorted(path for path in files if not path.endswith(".passphrase")):
        passphrase = f"{key}.passphrase"
        ssh_add("-q", key, passphrase=passphrase if passphrase in files else os.devnull)


if __name__ == "__main__":
    wait_for_agent()
    load(os.environ["CREDENTIALS_DIRECTORY"])
