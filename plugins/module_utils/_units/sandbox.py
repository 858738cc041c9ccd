# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sandbox of a unit, derived from the resources of its disks. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_network

from ansible_collections.directdisk.qemu.plugins.module_utils._backends.access import Reach
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError

KNOWN_HOSTS = "/etc/ssh/ssh_known_hosts"
"""The host keys that libssh trusts besides those in the home folder, which a dynamic user does not have."""


@dataclass(frozen=True)
class Sandbox:
    """The parts of a unit's sandbox that differ from VM to VM."""

    directory: str
    """Name of the unit's own folder under /run and, for a launch unit, /var/lib, /var/cache and /var/log."""
    families: tuple[str, ...]
    addresses: tuple[str, ...]
    """The only addresses that the process may connect to, if ``open_because`` is empty."""
    open_because: str
    """Reason why the address filter is off."""
    files: tuple[str, ...]
    """Files of its disks. Their access lists decide if the process may write to them."""
    readable: tuple[str, ...]
    devices: tuple[tuple[str, str], ...]
    """Device nodes with their access, as in DeviceAllow=."""
    groups: tuple[str, ...]
    replaced: tuple[tuple[str, str], ...]
    """Files that replace others, as in BindReadOnlyPaths=."""
    staged: tuple[tuple[str, str], ...]
    """Files that a helper creates before the process starts, and the paths at which the process sees them."""
    mounts: tuple[str, ...]
    """Paths whose file systems must be mounted first."""


def build_sandbox(
    reaches: Sequence[tuple[Reach, bool]],
    *,
    directory: str,
    replace_trust: bool,
    trust_store: str = "",
    kvm: bool = False,
    tun: bool = False,
    open_because: str = "",
    staged: Sequence[tuple[str, str]] = (),
    grows: bool = False,
) -> Sandbox:
    """Return the sandbox of a process; reaches: the resources of its disks, each with true if it is written.

    grows: if the process may be given disks with other servers while it runs. Families of addresses cannot be added
    then. The filter of addresses can be changed, and lets it connect to nothing that it does not need.
    """
    servers = _unique(server for reach, _writes in reaches for server in reach.servers)
    names = [server for server in servers if not is_address(server)]
    open_because = open_because or next((reach.open_because for reach, _writes in reaches if reach.open_because), "")
    if names and not open_because:
        open_because = f"{' '.join(names)} is known by name only: give an address to confine it"
    uses_network = grows or bool(servers or open_because)
    # An unknown server may be a name, and the resolver uses netlink, too.
    looks_up = bool(names) or any(reach.open_because for reach, _writes in reaches)
    families = ("AF_UNIX", *(("AF_INET", "AF_INET6") if uses_network else ()), *(("AF_NETLINK",) if looks_up else ()))
    devices = [(path, "rw" if writes else "r") for reach, writes in reaches for path in reach.devices]
    devices += [("/dev/kvm", "rw")] if kvm else []
    devices += [("/dev/net/tun", "rw")] if tun else []
    bundles = _unique(reach.trust for reach, _writes in reaches if reach.trust)
    host_keys = _unique(reach.known_hosts for reach, _writes in reaches if reach.known_hosts)
    _refuse_several(bundles if replace_trust else (), host_keys)
    replaced = [(path, KNOWN_HOSTS) for path in host_keys]
    replaced += [(bundle, trust_store) for bundle in bundles] if replace_trust else []
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
        replaced=tuple(replaced),
        staged=tuple(staged),
        mounts=_unique([*files, *bundles, *host_keys]),
    )


def _refuse_several(bundles: Sequence[str], host_keys: Sequence[str]) -> None:
    """Refuse more than one trust store or file of host keys, because a process has one of each."""
    if len(bundles) > 1:
        raise DeclarationError(
            "ca_bundle",
            f"the QEMU of a VM can use one bundle only ({', '.join(bundles)}); set route: nbdkit for the other disks",
        )
    if len(host_keys) > 1:
        raise DeclarationError(
            "known_hosts",
            f"the QEMU of a VM can use one file of host keys only ({', '.join(host_keys)}); "
            "merge the files, or set host_key",
        )


def is_address(host: str) -> bool:
    """Return if a host is an address or a network that systemd can filter by, which has no zone."""
    if "%" in host:
        return False
    try:
        ip_network(host)
    except ValueError:
        return False
    return True


def _unique(items: object) -> tuple[str, ...]:
    return tuple(dict.fromkeys(items))  # type: ignore[call-overload]
