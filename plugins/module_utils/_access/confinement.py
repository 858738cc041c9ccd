# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sandbox of processes that open foreign bytes for a run: what launch units have, without a unit.

A transient unit would do, at 250 ms each, and would outlive a run that is killed. So a small program builds the file
system and drops the privileges, and systemd's filter of addresses comes with a scope (90 ms) where a disk has a
server whose addresses are known.
"""

from __future__ import annotations

import itertools
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
_USERS = 0x70000000
"""The first of the user numbers that systemd lists as unused (its documentation, "Users, Groups, UIDs and GIDs")."""
_BENCHES = 16
"""Users that a process may have at once."""
_NUMBERS = itertools.count()
_BOOTED = "/run/systemd/system"
"""There where systemd is the host's init (sd_booted(3))."""


@dataclass(frozen=True)
class Confinement:
    """What a process may touch beside the folder of its run."""

    network: bool = False
    addresses: tuple[str, ...] = ()
    """The only addresses that it may talk to; without any, all that the host may."""
    files: tuple[tuple[str, str], ...] = ()
    """Files that it may read, and where it sees them."""
    opens: bool = False
    """Whether it may open files of others that it is given: they belong to root, or to a VM."""
    listens: bool = False
    """Whether it may listen at a port that other users may not take."""
    most: int = 0
    """Bytes of the largest file that it may write; 0 for any."""

    @property
    def capabilities(self) -> list[int]:
        """The numbers of those that it keeps."""
        kept = ((CAP_DAC_OVERRIDE, self.opens), (CAP_NET_BIND_SERVICE, self.listens))
        return [number for number, needed in kept if needed]


def confinement(*reaches: Reach, trust_store: str = "") -> Confinement:
    """The confinement of a process that reaches storage; trust_store: the file that the disk's own bundle replaces."""
    sandbox = build_sandbox(
        [(reach, False) for reach in reaches], directory="", replace_trust=bool(trust_store), trust_store=trust_store
    )
    return Confinement(
        network=bool(sandbox.addresses or sandbox.open_because),
        addresses=sandbox.addresses,
        files=(*((path, path) for path in sandbox.readable), *sandbox.replaced),
        opens=any(reach.files or reach.devices or reach.sockets for reach in reaches),
    )


def new_user() -> int:
    """A user that no other process of this host has."""
    return _USERS + os.getpid() * _BENCHES + next(_NUMBERS) % _BENCHES


def program(folder: str) -> str:
    """The program that confines, put into a folder."""
    path = f"{folder}/confined.py"
    write_private(path, text_of(confined))
    os.mkdir(f"{folder}/root", 0o700)
    return path


def begin(
    allowed: Confinement, user: int, folder: str, path: str, *, folders: tuple[str, ...], files_from: int = -1
) -> list[str]:
    """Begins a command that is to be confined; folder: of the program ``path`` and its empty folder."""
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
    """A scope is a unit around a process that stays this one's child."""
    if not allowed.addresses or not os.path.isdir(_BOOTED):
        return []
    addresses = (f"--property=IPAddressAllow={address}" for address in allowed.addresses)
    return ["/usr/bin/systemd-run", "--scope", "--quiet", "--collect", "--property=IPAddressDeny=any", *addresses, "--"]
