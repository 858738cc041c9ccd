# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names and paths of the files of a VM on its host."""

from __future__ import annotations

import hashlib
import re

from ansible_collections.directdisk.qemu.plugins.module_utils._programs import unit_record

UNIT_DIRECTORY = unit_record.UNIT_FOLDERS[0]
TARGET = "qemu-vms.target"
RESUME_TIMER = "qemu-vms-resume.timer"
COMMON_UNITS = (TARGET, RESUME_TIMER, "qemu-vms-resume.service")
"""The units that all VMs of a host share."""
NEEDRESTART = "/etc/needrestart/conf.d/qemu-vms.conf"
"""Settings of needrestart, which restarts services after upgrades of their libraries (Debian)."""
PROGRAMS = "/usr/local/libexec"
"""Folder of the small programs that units run."""
PYTHON = ("/usr/bin/python3", "-IS")
"""Begins the command of such a program, which may import only the standard library."""
CONTROL_PROGRAM = f"{PROGRAMS}/qemu-vm-control.py"
RESUME_PROGRAM = f"{PROGRAMS}/qemu-vms-resume.py"
TAP_PROGRAM = f"{PROGRAMS}/qemu-vm-tap.py"
SEED_PROGRAM = f"{PROGRAMS}/qemu-vm-seed.py"
KEYS_PROGRAM = f"{PROGRAMS}/qemu-vm-keys.py"
ACCESS_PROGRAM = f"{PROGRAMS}/qemu-vm-access.py"
SHARE_PROGRAM = f"{PROGRAMS}/qemu-vm-share.py"
AGENT_PROGRAM = f"{PROGRAMS}/qemu-vm-agent.py"
TGT_PROGRAM = f"{PROGRAMS}/qemu-vm-tgt.py"
RECORD_PROGRAM = f"{PROGRAMS}/qemu-vm-record.py"
OWNER_PROGRAM = f"{PROGRAMS}/qemu-vm-owner.py"
IMAGE_PROGRAM = f"{PROGRAMS}/qemu-image-fetch.py"
SSH_PART = "ssh"
"""The ssh-agent's part in the names of units and folders, where other helpers have the name of their disk."""
CREDENTIALS = unit_record.CREDENTIALS
ENCRYPTED_CREDENTIALS = f"{CREDENTIALS}.encrypted"
IMAGES = "qemu-images"
"""Name of the folder of staged images under /var/cache, and of the user that fetches them."""

_CREDENTIAL = re.compile(r"^(qemu-vm-[A-Za-z0-9_-]+|qemu-image-[0-9a-f]+)\.(.+)$")
_DIRECTORY = re.compile(r"^qemu-vm-([A-Za-z0-9_-]+)(?:\.[A-Za-z0-9_-]+)?$")
_IMAGE_UNIT = re.compile(r"^qemu-image-([0-9a-f]+)\.service$")
_UNIT = re.compile(r"^qemu-vm-([A-Za-z0-9_-]+)(?:\.([A-Za-z0-9_-]+)\.(\w+))?\.service$")


def owner_name(vm: str) -> str:
    """Return the prefix of the names of a VM's units and credentials."""
    return f"qemu-vm-{vm}"


def units_of_vms() -> str:
    """Return the pattern (glob) of the paths of all launch units and of the units of their helpers."""
    return f"{UNIT_DIRECTORY}/{owner_name('*')}.service"


def unit_name(vm: str) -> str:
    """Return the launch unit of a VM."""
    return f"{owner_name(vm)}.service"


def helper_unit_name(vm: str, part: str, helper: str) -> str:
    """Return the unit of a helper process of one disk, or of all. Names have no dots, so that it is unique."""
    return f"{owner_name(vm)}.{part}.{helper}.service"


def ssh_keys_unit_name(vm: str) -> str:
    """Return the unit that loads the keys of a VM's ssh-agent. It may be restarted at any time, while the VM runs."""
    return helper_unit_name(vm, SSH_PART, "keys")


def image_owner_name(image: str) -> str:
    """Return the prefix of the names of a staged image's unit and credentials."""
    return f"qemu-image-{image}"


def image_unit_name(image: str) -> str:
    """Return the unit that fetches a staged image."""
    return f"{image_owner_name(image)}.service"


def image_of_unit(unit: str) -> str:
    """Return the staged image that a unit fetches; empty for any other unit."""
    match = _IMAGE_UNIT.match(unit)
    return match.group(1) if match else ""


def image_file(image: str) -> str:
    """Return the path of a staged image, in the folder of a dynamic user (systemd.exec(5), "CacheDirectory=")."""
    return f"/var/cache/private/{IMAGES}/{image}"


def vm_of_unit(unit: str) -> str:
    """Return the VM to which a unit belongs; empty for a unit that is not the collection's."""
    match = _UNIT.match(unit)
    return match.group(1) if match else ""


def user_name(vm: str) -> str:
    """Return the dynamic user of a VM's QEMU."""
    return f"vm-{vm}"


def helper_user_name(vm: str, part: str) -> str:
    """Return the dynamic user of a helper, with a digest: systemd allows 31 characters, and the names may have more."""
    return f"qemu-helper-{hashlib.sha256(f'{vm}/{part}'.encode()).hexdigest()[:16]}"


def directory_name(vm: str, part: str = "") -> str:
    """Return the name of the folders of a VM, or of one of its helpers, below /run, /var/lib, /var/cache and /var/log.

    They are not in a common folder: with systemd before 250, a dynamic user cannot reach such folders.
    """
    return f"{owner_name(vm)}.{part}" if part else owner_name(vm)


def vm_of_directory(name: str) -> str:
    """Return the VM to which a folder belongs, by the folder's name; empty for any other folder."""
    match = _DIRECTORY.match(name)
    return match.group(1) if match else ""


def runtime_directory(vm: str) -> str:
    return f"/run/{directory_name(vm)}"


def state_directory(vm: str) -> str:
    return f"/var/lib/{directory_name(vm)}"


def private_state_directory(vm: str) -> str:
    """Return the place of a VM's state directory: the other one is a link that systemd makes for a dynamic user."""
    return f"/var/lib/private/{directory_name(vm)}"


def cache_directory(vm: str) -> str:
    return f"/var/cache/{directory_name(vm)}"


def log_directory(vm: str) -> str:
    return f"/var/log/{directory_name(vm)}"


def writes_of_overlay(path: str) -> str:
    """Return the option writes of a disk, by the path of its overlay; empty for any other path."""
    folders = {"overlay": state_directory(""), "discard": cache_directory("")}
    return next((writes for writes, folder in folders.items() if path.startswith(folder)), "")


def qmp_socket(vm: str) -> str:
    return f"{runtime_directory(vm)}/qmp.sock"


def agent_socket(vm: str) -> str:
    """Return the socket of the guest agent."""
    return f"{runtime_directory(vm)}/agent.sock"


def console_log(vm: str) -> str:
    return f"{log_directory(vm)}/console.log"


def helper_directory(vm: str, part: str) -> str:
    """Return the runtime directory of a helper process."""
    return f"/run/{directory_name(vm, part)}"


def credential_file(owner: str, name: str, *, encrypted: bool) -> str:
    """Return the path of a credential of a VM or a staged image at rest, in systemd's folders for credentials."""
    return f"{ENCRYPTED_CREDENTIALS if encrypted else CREDENTIALS}/{owner}.{name}"


def owner_of_credential(path: str) -> str:
    """Return the owner of a credential at rest (owner_name(), image_owner_name()); empty for other files."""
    match = _CREDENTIAL.match(path.rpartition("/")[2])
    return match.group(1) if match else ""


def credential_name(path: str) -> str:
    """Return the name of a credential at rest in its unit."""
    match = _CREDENTIAL.match(path.rpartition("/")[2])
    return match.group(2) if match else ""
