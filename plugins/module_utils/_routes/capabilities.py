# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host can do, as its probe reported it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._options.option import Version

PINS = "pins"
"""Stands among nbdkit's plugins and filters: whether it can be kept from following redirects."""


@dataclass(frozen=True)
class Capabilities:
    """One host, as probed. A reason is empty where the thing works."""

    family: str = ""
    """OS family of the packages: debian, redhat, fedora, suse or arch."""
    emulator: str = ""
    qemu_img: str = ""
    version: tuple[int, ...] = ()
    drivers: Mapping[str, str] = field(default_factory=dict)
    """Reason why a block driver does not work."""
    nbdkit: Mapping[str, str] = field(default_factory=dict)
    """Reason why an nbdkit plugin or filter does not work."""
    tgt: Mapping[str, str] = field(default_factory=dict)
    """Reason why tgtd cannot open a backend."""
    bindings: Mapping[str, str] = field(default_factory=dict)
    """Reason why the images of a backend cannot be kept: no Python has its bindings."""
    programs: Mapping[str, str] = field(default_factory=dict)
    """Paths of other programs that backends and routes need; empty where one is not there."""
    kvm: str = "not probed"
    uefi: Mapping[str, str] = field(default_factory=dict)
    """Paths of the firmware's ``code`` and ``vars`` images; empty where there is none."""
    systemd: int = 0
    encrypts: bool = False
    """Whether systemd-creds can encrypt credentials at rest."""
    trust_store: str = ""
    """The bundle of certificate authorities that the host's TLS libraries read."""

    @classmethod
    def from_probe(cls, probed: Mapping[str, Any]) -> Capabilities:
        """From the probe's JSON."""
        return cls(**{**probed, "version": tuple(probed["version"])})

    @property
    def pins(self) -> bool:
        """Whether nbdkit can be kept from following redirects."""
        return not self.nbdkit.get(PINS)

    @property
    def release(self) -> Version:
        """Major and minor version of QEMU."""
        return (self.version[0], self.version[1]) if len(self.version) > 1 else (0, 0)
