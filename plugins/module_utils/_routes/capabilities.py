# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The capabilities of a host, as its probe reports them. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypedDict

from ansible_collections.directdisk.qemu.plugins.module_utils._options.option import Version

VVFAT = "vvfat"
PINS = "pins"
"""Key among nbdkit's plugins and filters: if nbdkit can be told not to follow redirects."""


class ProbedCapabilities(TypedDict):
    """The probe's JSON; Capabilities documents the members."""

    family: str
    emulator: str
    qemu_img: str
    version: list[int]
    machines: list[str]
    no_devices: list[str]
    cpu_models: list[str]
    cpu_features: list[str]
    emulator_options: dict[str, bool]
    drivers: dict[str, str]
    nbdkit: dict[str, str]
    tgt: dict[str, str]
    bindings: dict[str, str]
    programs: dict[str, str]
    kvm: str
    uefi: dict[str, str]
    secure_boot: dict[str, str]
    systemd: int
    encrypts: bool
    trust_store: str


@dataclass(frozen=True)
class Capabilities:
    """One host. A reason is empty if the thing works."""

    family: str = ""
    """OS family of the packages: debian, redhat, fedora, suse or arch."""
    emulator: str = ""
    qemu_img: str = ""
    version: tuple[int, ...] = ()
    machines: Sequence[str] = ()
    """Boards of the emulator and their other names, such as q35; empty if they are not known."""
    no_devices: Sequence[str] = ()
    """Device models that VMs may declare and this emulator does not have."""
    cpu_models: Sequence[str] = ()
    """CPU models of the emulator; empty if they are not known."""
    cpu_features: Sequence[str] = ()
    """Names that may follow a CPU model; empty if they are not known."""
    emulator_options: Mapping[str, bool] = field(default_factory=dict)
    """Options of the emulator's command line, and if a value follows; empty if they are not known."""
    drivers: Mapping[str, str] = field(default_factory=dict)
    """Reason why a block driver does not work, by driver; VVFAT among them, with which QEMU shows a folder."""
    nbdkit: Mapping[str, str] = field(default_factory=dict)
    """Reason why a plugin or filter of nbdkit does not work, by name."""
    tgt: Mapping[str, str] = field(default_factory=dict)
    """Reason why tgtd cannot open a backend, by backend."""
    bindings: Mapping[str, str] = field(default_factory=dict)
    """Reason why no Python of the host has the bindings of a backend, by backend."""
    programs: Mapping[str, str] = field(default_factory=dict)
    """Paths of other programs that backends and routes need; empty if one is not installed."""
    kvm: str = "not probed"
    uefi: Mapping[str, str] = field(default_factory=dict)
    """Paths of the firmware's ``code`` and ``vars`` images; empty if the host has none."""
    secure_boot: Mapping[str, str] = field(default_factory=dict)
    """Those of firmware with Secure Boot and enrolled keys."""
    systemd: int = 0
    encrypts: bool = False
    """If systemd-creds can encrypt credentials at rest."""
    trust_store: str = ""
    """The bundle of certificate authorities that the host's TLS libraries read."""

    @classmethod
    def from_probe(cls, probed: Mapping[str, Any]) -> Capabilities:
        """Read the probe's JSON (ProbedCapabilities)."""
        members: dict[str, Any] = {**probed, "version": tuple(probed["version"])}
        return cls(**members)

    @property
    def pins(self) -> bool:
        """Return if nbdkit can be told not to follow redirects."""
        return not self.nbdkit.get(PINS)

    @property
    def release(self) -> Version:
        """Return the major and minor version of QEMU."""
        return (self.version[0], self.version[1]) if len(self.version) > 1 else (0, 0)
