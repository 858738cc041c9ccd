# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What systemd lets a process touch, derived from what its disks must reach. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from ansible_collections.directdisk.qemu.plugins.module_utils._backend import Reach
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError


@dataclass(frozen=True)
class Sandbox:
    """The parts of a unit's sandbox that differ from machine to machine."""

    directory: str
    """Name of the unit's own folder under /run and, for a machine, /var/lib, /var/cache and /var/log."""
    families: tuple[str, ...]
    addresses: tuple[str, ...]
    """The only addresses that the process may talk to, where ``open_because`` is empty."""
    open_because: str
    """Why the filter of addresses is off."""
    files: tuple[str, ...]
    """Files of its disks. Their access lists say whether it may write."""
    readable: tuple[str, ...]
    devices: tuple[tuple[str, str], ...]
    """Device nodes with their access, as in DeviceAllow=."""
    groups: tuple[str, ...]
    trust: tuple[tuple[str, str], ...]
    """A file that takes the place of another one, as in BindReadOnlyPaths=."""
    mounts: tuple[str, ...]
    """Paths whose mounts must be there first."""


def build_sandbox(
    reaches: Sequence[tuple[Reach, bool]],
    *,
    directory: str,
    replace_trust: bool,
    trust_store: str = "",
    kvm: bool = False,
    tun: bool = False,
    open_because: str = "",
) -> Sandbox:
    """The sandbox of a process that reaches all of ``reaches``, each writing or only reading."""
    servers = _unique(server for reach, _writes in reaches for server in reach.servers)
    names = [server for server in servers if not is_address(server)]
    if names and not open_because:
        open_because = f"{' '.join(names)} is known by name only: give an address to confine it"
    uses_network = bool(servers or open_because)
    families = ("AF_UNIX", *(("AF_INET", "AF_INET6") if uses_network else ()), *(("AF_NETLINK",) if names else ()))
    devices = [(path, "rw" if writes else "r") for reach, writes in reaches for path in reach.devices]
    devices += [("/dev/kvm", "rw")] if kvm else []
    devices += [("/dev/net/tun", "rw")] if tun else []
    bundles = _unique(reach.trust for reach, _writes in reaches if reach.trust)
    if replace_trust and len(bundles) > 1:
        raise DeclarationError(
            "ca_bundle",
            f"a machine's QEMU trusts one bundle only ({', '.join(bundles)}); say route: nbdkit for the other disks",
        )
    files = _unique(path for reach, _writes in reaches for path in reach.files)
    return Sandbox(
        directory=directory,
        families=families,
        addresses=() if open_because else servers,
        open_because=open_because,
        files=files,
        readable=() if replace_trust else bundles,
        devices=tuple(dict.fromkeys(devices)),
        groups=("kvm",) if kvm else (),
        trust=tuple((bundle, trust_store) for bundle in bundles) if replace_trust else (),
        mounts=_unique([*files, *bundles]),
    )


def is_address(host: str) -> bool:
    """Whether a host is given by its address, and in a form that systemd can filter by: without a zone."""
    if "%" in host:
        return False
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _unique(items: object) -> tuple[str, ...]:
    return tuple(dict.fromkeys(items))  # type: ignore[call-overload]
