# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Places of the lab on this computer."""

from __future__ import annotations

import hashlib
import ipaddress
import os
import re
from dataclasses import dataclass
from pathlib import Path

from .hosts import Host
from .shell import LabError

HERE = Path(__file__).resolve().parent.parent
FILES = HERE / "files"


@dataclass(frozen=True)
class Settings:
    """Names, addresses and folders of one lab."""

    name: str
    subnet: ipaddress.IPv4Network
    base: Path

    @classmethod
    def from_environment(cls) -> Settings:
        name = os.environ.get("DIRECTDISK_LAB_NAME") or "ddlab"
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,30}", name):
            raise LabError(f"DIRECTDISK_LAB_NAME={name}: lower-case letters, digits and dashes only")
        subnet = os.environ.get("DIRECTDISK_LAB_SUBNET") or "10.89.77.0/24"
        cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
        try:
            network = ipaddress.IPv4Network(subnet)
        except ValueError as error:
            raise LabError(f"DIRECTDISK_LAB_SUBNET={subnet}: {error}") from error
        if network.prefixlen > 27:
            raise LabError(f"DIRECTDISK_LAB_SUBNET={subnet}: at least a /27 is needed")
        return cls(name, network, Path(cache).absolute() / "directdisk-lab")

    @property
    def state(self) -> Path:
        """Everything of this lab that `down` removes."""
        return self.base / self.name

    @property
    def cache(self) -> Path:
        """podman's own storage with the images, shared by all labs of this user, kept by `down`."""
        return self.base / "_cache"

    @property
    def run(self) -> Path:
        """podman's run-time files: below /run, so that they go when the machine restarts."""
        tag = hashlib.sha256(str(self.base).encode()).hexdigest()[:8]
        return Path("/run/directdisk-lab") / tag

    @property
    def sockets(self) -> Path:
        """ssh's control sockets: their path must be short."""
        return self.run / f"ssh-{self.name}"

    @property
    def key(self) -> Path:
        return self.state / "ssh" / "id_ed25519"

    def image_key(self, name: str) -> Path:
        """A private key of the user whom the storage host lets in by ssh."""
        return self.state / "ssh" / f"images_{name}"

    @property
    def known_hosts(self) -> Path:
        return self.state / "ssh" / "known_hosts"

    @property
    def secrets(self) -> Path:
        return self.state / "secrets.yml"

    @property
    def inventory(self) -> Path:
        return self.state / "inventory" / "hosts.yml"

    @property
    def tls(self) -> Path:
        return self.state / "tls"

    @property
    def psk(self) -> Path:
        return self.tls / "psk" / "keys.psk"

    @property
    def gateway(self) -> str:
        return str(self.subnet[1])

    def address(self, host: Host) -> str:
        return str(self.subnet[host.offset])

    def container(self, host: Host) -> str:
        return f"{self.name}-{host.name}"

    def srv(self, host_name: str) -> Path:
        """The folder of this machine that a host sees as /srv."""
        return self.state / "srv" / host_name
