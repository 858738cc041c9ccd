# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sandbox of processes that open foreign data during a run; the same as that of launch units, without a unit.

A transient unit takes 250 ms and outlives a run that is killed. So a small program builds the file system and drops
the privileges. systemd's address filter is set by a scope (90 ms), if the addresses of the disk's server are known.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass

from ansible_collections.directdisk.qemu.plugins.module_utils._backends.access import Reach
from ansible_collections.directdisk.qemu.plugins.module_utils._process.private_files import write_private
from ansible_collections.directdisk.qemu.plugins.module_utils._process.run import PYTHON, text_of
from ansible_collections.directdisk.qemu.plugins.module_utils._programs import confined
from ansible_collections.directdisk.qemu.plugins.module_utils._units.sandbox import build_sandbox

CAP_DAC_OVERRIDE, CAP_NET_BIND_SERVICE = 1, 10  # linux/capability.h
_BOOTED = "/run/systemd/system"
"""Exists if systemd is the host's init (sd_booted(3))."""


@dataclass(frozen=True)
class Confinement:
    """Permissions of a process beside the folder of its run."""

    network: bool = False
    addresses: tuple[str, ...] = ()
    """The only addresses that it may connect to; empty for all."""
    files: tuple[tuple[str, str], ...] = ()
    """Files that it may read, and the paths at which it sees them."""
    opens: bool = False
    """It may open files of other owners that it is given: root's, or a VM's."""
    listens: bool = False
    """It may listen on a privileged port."""
    most: int = 0
    """Maximum size of a file that it may write; 0 for no limit."""

    @property
    def capabilities(self) -> list[int]:
        """Return the numbers of the capabilities that the process keeps."""
        kept = ((CAP_DAC_OVERRIDE, self.opens), (CAP_NET_BIND_SERVICE, self.listens))
        return [number for number, needed in kept if needed]


def confinement(*reaches: Reach, trust_store: str = "") -> Confinement:
    """Return the confinement of a process that accesses storage; trust_store: file that the disk's bundle replaces."""
    sandbox = build_sandbox(
        [(reach, False) for reach in reaches], directory="", replace_trust=bool(trust_store), trust_store=trust_store
    )
    return Confinement(
        network=bool(sandbox.addresses or sandbox.open_because),
        addresses=sandbox.addresses,
        files=(*((path, path) for path in sandbox.readable), *sandbox.replaced),
        opens=any(reach.files or reach.devices or reach.sockets for reach in reaches),
    )


def program(folder: str) -> str:
    """Write the program that confines into a folder, and return its path."""
    path = f"{folder}/confined.py"
    write_private(path, text_of(confined))
    os.mkdir(f"{folder}/root", 0o700)
    return path


def begin(
    allowed: Confinement, user: int, folder: str, path: str, *, folders: tuple[str, ...], files_from: int = -1
) -> list[str]:
    """Return the beginning of a confined command; folder: of the program ``path`` and its empty folder."""
    settings: Mapping[str, object] = {
        "user": user,
        "folders": folders,
        "files": allowed.files,
        "network": allowed.network,
        "capabilities": allowed.capabilities,
        "most": allowed.most,
        "root": f"{folder}/root",
        "files_from": files_from,
    }
    return [*_filter(allowed), *PYTHON, path, json.dumps(settings), "--"]


def _filter(allowed: Confinement) -> list[str]:
    """Return the scope that filters addresses: a unit around a process that stays a child of this one."""
    if not allowed.addresses or not os.path.isdir(_BOOTED):
        return []
    addresses = (f"--property=IPAddressAllow={address}" for address in allowed.addresses)
    return ["/usr/bin/systemd-run", "--scope", "--quiet", "--collect", "--property=IPAddressDeny=any", *addresses, "--"]
