# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real QEMU programs and servers for tests of the code that speaks to them; such tests are skipped without them."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.directdisk.qemu.plugins.module_utils._access.workbench import Workbench
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk, read_image
from ansible_collections.directdisk.qemu.tests.unit.support import capabilities

MIB = 2**20
SFTP_SERVERS = ("/usr/lib/openssh/sftp-server", "/usr/libexec/openssh/sftp-server", "/usr/lib/ssh/sftp-server")
SFTP_SERVER = next(filter(os.path.exists, SFTP_SERVERS), "")


def may_confine() -> bool:
    """Root, on a system that lets it make namespaces."""
    done = subprocess.run(["unshare", "--mount", "--net", "true"], capture_output=True, check=False)
    return os.getuid() == 0 and done.returncode == 0


def _has(*programs: str) -> bool:
    return all(map(shutil.which, programs))


_ACCEPTS = "00010000"  # __SO_ACCEPTCON (linux/net.h)
needs_qemu = pytest.mark.skipif(
    not _has("qemu-img", "qemu-storage-daemon") or not may_confine(),
    reason="needs qemu-img, qemu-storage-daemon, root, and a system that lets it make namespaces",
)
needs_nbdkit = pytest.mark.skipif(not _has("nbdkit"), reason="needs nbdkit")
needs_guest_agent = pytest.mark.skipif(not _has("qemu-ga"), reason="needs qemu-ga (package qemu-guest-agent)")
needs_sshd = pytest.mark.skipif(
    not os.path.exists("/usr/sbin/sshd") or os.getuid() != 0, reason="needs sshd (package openssh-server), and root"
)
needs_sftp_server = pytest.mark.skipif(not SFTP_SERVER, reason="needs sftp-server of OpenSSH")


@contextlib.contextmanager
def open_bench() -> Iterator[Workbench]:
    """A workbench that opens disks in a real qemu-storage-daemon."""
    with Workbench(capabilities("debian12"), open_timeout=30) as bench:
        yield bench


def disk(**declared: Any) -> Disk:
    return read_image("disk", declared, "disk")


def make_image(path: Path, form: str = "qcow2", size: int = MIB, **options: str) -> Path:
    """An image as qemu-img makes it."""
    given = [f"-o{name}={value}" for name, value in options.items()]
    subprocess.run(["qemu-img", "create", "-q", "-f", form, *given, str(path), str(size)], check=True)
    return path


@contextlib.contextmanager
def nbd_server(folder: Path, *arguments: str) -> Iterator[str]:
    """The socket of an nbdkit that is called with these arguments."""
    path, ready = f"{folder}/nbd.sock", f"{folder}/nbd.pid"
    command = ["nbdkit", "--foreground", "--exit-with-parent", "--unix", path, "--pidfile", ready, *arguments]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            while not os.path.exists(ready):  # written once it listens
                assert process.poll() is None, f"nbdkit ended with {process.returncode}"
                time.sleep(0.01)
            yield path
        finally:
            process.kill()


@dataclass(frozen=True)
class SshServer:
    """A running sshd."""

    port: int
    host_key: str
    """Its public key."""
    key: str
    """The private key that opens it, for root."""


@contextlib.contextmanager
def ssh_server(folder: Path) -> Iterator[SshServer]:
    """Run an sshd on loopback that serves SFTP."""
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = f"""\
ListenAddress 127.0.0.1:{port}
HostKey {folder}/host
AuthorizedKeysFile {folder}/user.pub
StrictModes no
PermitRootLogin yes
PidFile none
Subsystem sftp internal-sftp
"""
    (folder / "sshd_config").write_text(settings)
    os.makedirs("/run/sshd", exist_ok=True)
    command = ["/usr/sbin/sshd", "-D", "-e", "-f", str(folder / "sshd_config")]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            while not _answers(port):
                assert process.poll() is None, f"sshd ended with {process.returncode}"
                time.sleep(0.01)
            yield SshServer(port, (folder / "host.pub").read_text(), (folder / "user").read_text())
        finally:
            process.kill()


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False


def _listens(path: str) -> bool:
    """Return if a process listens on a unix socket, which exists before that. An agent serves one client at once."""
    sockets = [line.split() for line in Path("/proc/net/unix").read_text(encoding="utf-8").splitlines()]
    return any(words[3] == _ACCEPTS and words[-1] == path for words in sockets)


@contextlib.contextmanager
def guest_agent(folder: Path) -> Iterator[str]:
    """The socket of a real guest agent, which takes this machine for its guest."""
    path = f"{folder}/agent.sock"
    command = ["qemu-ga", "--method=unix-listen", f"--path={path}", f"--statedir={folder}", f"--pidfile={folder}/pid"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            while not _listens(path):
                assert process.poll() is None, f"qemu-ga ended with {process.returncode}"
                time.sleep(0.01)
            yield path
        finally:
            process.kill()
