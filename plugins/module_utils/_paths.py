# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the files of a machine live on its host."""

from __future__ import annotations

import re

UNIT_DIRECTORY = "/etc/systemd/system"
TARGET = "qemu-vms.target"
CONTROL_PROGRAM = "/usr/local/libexec/qemu-vm-control.py"
OPENED = "# Storage, and whether it is written to: "
"""Begins the line of a unit that says what its machine opens; units without a declaration are judged by it."""
CREDENTIALS = "/etc/credstore"
ENCRYPTED_CREDENTIALS = "/etc/credstore.encrypted"
ROOT = "qemu-vms"
"""Name of the folder of all machines under /run, /var/lib, /var/cache and /var/log."""

_CREDENTIAL = re.compile(r"^qemu-vm-([A-Za-z0-9_-]+)\.(.+)$")
_UNIT = re.compile(r"^qemu-vm-([A-Za-z0-9_-]+)(?:\.([A-Za-z0-9_-]+)\.(\w+))?\.service$")


def unit_name(vm: str) -> str:
    """The launch unit of a machine."""
    return f"qemu-vm-{vm}.service"


def helper_unit_name(vm: str, disk: str, helper: str) -> str:
    """The unit of a helper process of one disk. Names have no dots, so no two of them can meet."""
    return f"qemu-vm-{vm}.{disk}.{helper}.service"


def vm_of_unit(unit: str) -> str:
    """The machine to which a unit of ours belongs; empty for any other unit."""
    match = _UNIT.match(unit)
    return match.group(1) if match else ""


def user_name(vm: str) -> str:
    """The dynamic user of a machine and its helpers."""
    return f"vm-{vm}"


def runtime_directory(vm: str) -> str:
    return f"/run/{ROOT}/{vm}"


def state_directory(vm: str) -> str:
    return f"/var/lib/{ROOT}/{vm}"


def cache_directory(vm: str) -> str:
    return f"/var/cache/{ROOT}/{vm}"


def log_directory(vm: str) -> str:
    return f"/var/log/{ROOT}/{vm}"


def qmp_socket(vm: str) -> str:
    return f"{runtime_directory(vm)}/qmp.sock"


def console_log(vm: str) -> str:
    return f"{log_directory(vm)}/console.log"


def nbdkit_directory(vm: str, disk: str) -> str:
    return f"/run/{ROOT}/{vm}.{disk}"


def credential_file(vm: str, name: str, *, encrypted: bool) -> str:
    """Where a credential of a machine is kept at rest, in the folders that systemd sets aside for them."""
    return f"{ENCRYPTED_CREDENTIALS if encrypted else CREDENTIALS}/qemu-vm-{vm}.{name}"


def vm_of_credential(path: str) -> str:
    """The machine to which a credential at rest belongs; empty for any other file."""
    match = _CREDENTIAL.match(path.rpartition("/")[2])
    return match.group(1) if match else ""


def credential_name(path: str) -> str:
    """The name under which a unit knows a credential at rest."""
    match = _CREDENTIAL.match(path.rpartition("/")[2])
    return match.group(2) if match else ""
