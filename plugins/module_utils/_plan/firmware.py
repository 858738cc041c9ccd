# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""UEFI firmware of a VM: its images on the host, the file of its variables, and its arguments. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.vm import Vm
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import CapabilityError
from ansible_collections.directdisk.qemu.plugins.module_utils._routes.capabilities import Capabilities
from ansible_collections.directdisk.qemu.plugins.module_utils._units import paths
from ansible_collections.directdisk.qemu.plugins.module_utils._units.compact_json import compact
from ansible_collections.directdisk.qemu.plugins.module_utils._units.node_names import vm_node
from ansible_collections.directdisk.qemu.plugins.module_utils._units.service import Args, Command, keep_first


@dataclass(frozen=True)
class Firmware:
    """UEFI in flash memory."""

    code: str
    template: str
    """The variables with which a VM begins."""
    variables: str
    """The VM's own."""
    secure_boot: bool

    def commands(self) -> list[Command]:
        """Return the commands that create the variables unless they exist."""
        new = f"{self.variables}.new"
        copy = Command(("/bin/cp", "--no-preserve=all", "--", self.template, new))
        return [copy, *keep_first(new, self.variables)]

    def arguments(self) -> Args:
        """Return the arguments of QEMU."""
        code = {"driver": "file", "node-name": vm_node("uefi-code"), "filename": self.code, "read-only": True}
        variables = {"driver": "file", "node-name": vm_node("uefi-vars"), "filename": self.variables}
        flash = f"pflash0={code['node-name']},pflash1={variables['node-name']}"
        args: Args = [
            ("-blockdev", compact(code)),
            ("-blockdev", compact(variables)),
            ("-machine", f"{flash},smm=on" if self.secure_boot else flash),
        ]
        if self.secure_boot:
            # The firmware alone writes the variables, in System Management Mode. Such firmware does not wake from S3.
            args += [
                ("-global", "driver=cfi.pflash01,property=secure,value=on"),
                ("-global", "driver=ICH9-LPC,property=disable_s3,value=1"),
            ]
        return args


def firmware_of(vm: Vm, capabilities: Capabilities) -> Firmware | None:
    """Return the UEFI firmware of a VM, if it has one; raise CapabilityError if this host does not."""
    if vm.settings["firmware"] != "uefi":
        return None
    secure_boot = bool(vm.settings["secure_boot"])
    images = capabilities.secure_boot if secure_boot else capabilities.uefi
    if not images:
        option, kind = ("secure_boot", " with Secure Boot and enrolled keys") if secure_boot else ("firmware", "")
        raise CapabilityError(
            f"vm {vm.name}: {option}",
            f"this host has no UEFI firmware{kind} for x86_64; install ovmf (role storage_client)",
        )
    # Variables without keys would switch Secure Boot off without a word, so each has a file of its own.
    name = "uefi-vars-secure.fd" if secure_boot else "uefi-vars.fd"
    return Firmware(images["code"], images["vars"], f"{paths.state_directory(vm.name)}/{name}", secure_boot)
