# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The TPM of a VM: a swtpm in a unit of its own, and the device that QEMU connects to it. Pure."""

from __future__ import annotations

from ansible_collections.directdisk.qemu.plugins.module_utils._backends.resources import keyval
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.vm import Vm
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import CapabilityError
from ansible_collections.directdisk.qemu.plugins.module_utils._routes.capabilities import Capabilities
from ansible_collections.directdisk.qemu.plugins.module_utils._units import paths
from ansible_collections.directdisk.qemu.plugins.module_utils._units.node_names import vm_node
from ansible_collections.directdisk.qemu.plugins.module_utils._units.sandbox import build_sandbox
from ansible_collections.directdisk.qemu.plugins.module_utils._units.service import Args, Service, launcher_of

PART = "machine"
"""The part of the VM in the names of units and folders: no disk has this name."""


def _socket(vm: str) -> str:
    return f"{paths.helper_directory(vm, PART)}/tpm.sock"


def check(vm: Vm, capabilities: Capabilities) -> None:
    """Raise CapabilityError if a VM has a TPM and this host no program that emulates it."""
    if vm.settings["tpm"] and not capabilities.programs.get("swtpm"):
        raise CapabilityError(f"vm {vm.name}: tpm", "this host has no swtpm; install swtpm (role storage_client)")


def tpm_service(vm: Vm, capabilities: Capabilities) -> Service:
    """Return the unit of a VM's swtpm. It has a user of its own: QEMU must not read the secrets of the TPM."""
    name = vm.name
    pid_file = f"{paths.helper_directory(name, PART)}/swtpm.pid"
    state = f"/var/lib/{paths.directory_name(name, PART)}"
    return Service(
        name=paths.helper_unit_name(name, PART, "swtpm"),
        template="swtpm.service.j2",
        vm=name,
        description=f"TPM of virtual machine {name}",
        args=[
            (capabilities.programs["swtpm"], "socket"),
            ("--tpm2",),
            ("--tpmstate", f"dir={state},mode=0600"),
            # Mode 0660: QEMU connects as the group of its user.
            ("--ctrl", f"type=unixio,path={_socket(name)},mode=0660"),
            ("--pid", f"file={pid_file}"),
            ("--daemon",),
        ],
        launcher=launcher_of(capabilities.family),
        sandbox=build_sandbox([], directory=paths.directory_name(name, PART), replace_trust=False),
        credentials={},
        start_timeout=vm.settings["start_timeout"],
        pid_file=pid_file,
        part=PART,
    )


def tpm_arguments(vm: str) -> Args:
    """Return the arguments of QEMU for the TPM."""
    name = vm_node("tpm")
    return [
        ("-chardev", f"socket,id={name},path={keyval(_socket(vm))}"),
        ("-tpmdev", f"emulator,id={name},chardev={name}"),
        ("-device", f"tpm-crb,id={name}-device,tpmdev={name}"),
    ]
