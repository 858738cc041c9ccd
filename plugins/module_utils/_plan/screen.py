# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The password of a VM's screen. Pure."""

from __future__ import annotations

from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.vm import Vm
from ansible_collections.directdisk.qemu.plugins.module_utils._units import paths
from ansible_collections.directdisk.qemu.plugins.module_utils._units.node_names import vm_node

PASSWORD = "vnc-password"
"""Name of the secret among those of the VM itself."""


def has_password(vm: Vm) -> bool:
    """Return if the screen of a VM has a password."""
    return "password" in (vm.settings.get("vnc") or {})


def password_file(vm: Vm, *, encrypted: bool) -> str:
    """Return the path of the credential with the password; empty if there is none."""
    owner = paths.owner_name(vm.name)
    return paths.credential_file(owner, vm_node(PASSWORD), encrypted=encrypted) if has_password(vm) else ""
