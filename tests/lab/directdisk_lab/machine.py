# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requirements of the lab on the computer that it runs on."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from .shell import LabError, run, step

# A program that shows that the package is there, by package.
NEEDED = {
    "podman": "podman",
    "crun": "crun",
    "netavark": "/usr/lib/podman/netavark",
    "iptables": "iptables",
    "mmdebstrap": "mmdebstrap",
    "debian-archive-keyring": "/usr/share/keyrings/debian-archive-keyring.gpg",
    "binutils": "as",
    "openssl": "openssl",
    "openssh-client": "ssh",
    "qemu-utils": "qemu-img",
    "iproute2": "ip",
    "mount": "losetup",
    "util-linux": "nsenter",
    "xz-utils": "xz",
}


def missing_packages() -> list[str]:
    return [
        package
        for package, proof in NEEDED.items()
        if not (Path(proof).exists() if proof.startswith("/") else shutil.which(proof))
    ]


def prepare() -> None:
    """Install what is missing."""
    require_root()
    missing = missing_packages()
    if not missing:
        return
    if not shutil.which("apt-get"):
        raise LabError(f"install these first: {' '.join(missing)}")
    quiet = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "--quiet=2", "--yes"]
    with step(f"packages installed: {' '.join(missing)}"):
        run([*quiet, "update"])
        run([*quiet, "install", "--no-install-recommends", *missing])


def require_root() -> None:
    if os.geteuid() != 0:
        raise LabError("the lab needs root: it makes loop devices and privileged containers")
