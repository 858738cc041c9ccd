# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A VM as declared for one host, as a typed object. Pure."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from ansible_collections.directdisk.qemu.plugins.module_utils._backends.values import Values
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.disk import Disk, Drive
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.identities import Spellings, spellings


@dataclass(frozen=True)
class Network:
    """A network interface of a VM."""

    name: str
    mac: str
    model: str
    bridge: str = ""
    forward: tuple[str, ...] = ()
    link: str = "up"


@dataclass(frozen=True)
class Vm:
    """A virtual machine as declared for one host."""

    name: str
    settings: Values
    drives: tuple[Drive, ...]
    """The disks, and the CD drives without a medium, in the order of their declaration."""
    networks: tuple[Network, ...]
    seed: Mapping[str, str]
    """Files of the NoCloud seed; empty without cloud-init."""

    @cached_property
    def disks(self) -> tuple[Disk, ...]:
        """Return those that have storage."""
        return tuple(drive for drive in self.drives if isinstance(drive, Disk))

    @cached_property
    def state(self) -> str:
        return str(self.settings["state"])

    @property
    def uuid(self) -> str:
        """Return a UUID that stays the same, so that a guest keeps its licences and leases."""
        return str(self.settings.get("uuid", "")).lower() or uuid_of(self.name)


def user_subnet(number: int) -> str:
    """Return the subnet of a VM's user network, by its number among them: QEMU gives all of them the same."""
    return f"10.0.{number + 2}.0/24"


def uuid_of(name: str) -> str:
    """Return the UUID of a VM with this name."""
    return str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{name}.vm.directdisk.qemu"))


def opened_storage(vm: Vm) -> dict[str, bool]:
    """Return the identities of the storage that a VM opens; True if it writes to it."""
    return {disk.identity: disk.writes == "keep" for disk in vm.disks}


def other_names(vm: Vm) -> dict[str, Spellings]:
    """Return the other names of the storage that a VM opens, by identity; storage that has none is left out."""
    known = {disk.identity: spellings(disk) for disk in vm.disks}
    return {identity: one for identity, one in known.items() if one["alike"] or one["names"]}
