# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the files of a machine live on its host."""

from __future__ import annotations

import hashlib
import re

UNIT_DIRECTORY = "/etc/systemd/system"
TARGET = "qemu-vms.target"
RESUME_TIMER = "qemu-vms-resume.timer"
COMMON_UNITS = (TARGET, RESUME_TIMER, "qemu-vms-resume.service")
"""The units that all machines of a host share."""
PROGRAMS = "/usr/local/libexec"
"""Folder of the small programs that units run."""
CONTROL_PROGRAM = f"{PROGRAMS}/qemu-vm-control.py"
RESUME_PROGRAM = f"{PROGRAMS}/qemu-vms-resume.py"
TAP_PROGRAM = f"{PROGRAMS}/qemu-vm-tap.py"
KEYS_PROGRAM = f"{PROGRAMS}/qemu-vm-keys.py"
ACCESS_PROGRAM = f"{PROGRAMS}/qemu-vm-access.py"
SHARE_PROGRAM = f"{PROGRAMS}/qemu-vm-share.py"
AGENT_PROGRAM = f"{PROGRAMS}/qemu-vm-agent.py"
TGT_PROGRAM = f"{PROGRAMS}/qemu-vm-tgt.py"
OWNER_PROGRAM = f"{PROGRAMS}/qemu-vm-owner.py"
IMAGE_PROGRAM = f"{PROGRAMS}/qemu-image-fetch.py"
CREDENTIALS = "/etc/credstore"
ENCRYPTED_CREDENTIALS = "/etc/credstore.encrypted"
IMAGES = "qemu-images"
"""Name of the folder of staged images under /var/cache, and of the user that fetches them."""

_CREDENTIAL = re.compile(r"^(qemu-vm-[A-Za-z0-9_-]+|qemu-image-[0-9a-f]+)\.(.+)$")
_DIRECTORY = re.compile(r"^qemu-vm-([A-Za-z0-9_-]+)(?:\.[A-Za-z0-9_-]+)?$")
_IMAGE_UNIT = re.compile(r"^qemu-image-([0-9a-f]+)\.service$")
_UNIT = re.compile(r"^qemu-vm-([A-Za-z0-9_-]+)(?:\.([A-Za-z0-9_-]+)\.(\w+))?\.service$")


def owner_name(vm: str) -> str:
    """What the names of a machine's units and credentials begin with."""
    return f"qemu-vm-{vm}"


def unit_name(vm: str) -> str:
    """The launch unit of a machine."""
    return f"{owner_name(vm)}.service"


def helper_unit_name(vm: str, part: str, helper: str) -> str:
    """The unit of a helper process of one disk, or of all. Names have no dots, so no two of them can meet."""
    return f"{owner_name(vm)}.{part}.{helper}.service"


def image_owner_name(image: str) -> str:
    """What the names of a staged image's unit and credentials begin with."""
    return f"qemu-image-{image}"


def image_unit_name(image: str) -> str:
    """The unit that fetches a staged image."""
    return f"{image_owner_name(image)}.service"


def image_of_unit(unit: str) -> str:
    """The staged image that a unit of ours fetches; empty for any other unit."""
    match = _IMAGE_UNIT.match(unit)
    return match.group(1) if match else ""


def image_file(image: str) -> str:
    """Where a staged image is kept: in a folder of a dynamic user (systemd.exec(5), "CacheDirectory=")."""
    return f"/var/cache/private/{IMAGES}/{image}"


def vm_of_unit(unit: str) -> str:
    """The machine to which a unit of ours belongs; empty for any other unit."""
    match = _UNIT.match(unit)
    return match.group(1) if match else ""


def user_name(vm: str) -> str:
    """The dynamic user of a VM's QEMU."""
    return f"vm-{vm}"


def helper_user_name(vm: str, part: str) -> str:
    """The dynamic user of a helper: systemd allows 31 characters, and both names together may have more."""
    return f"qemu-helper-{hashlib.sha256(f'{vm}/{part}'.encode()).hexdigest()[:16]}"


def directory_name(vm: str, part: str = "") -> str:
    """Name of the folders of a machine, or of one of its helpers, below /run, /var/lib, /var/cache and /var/log.

    Not a folder in a common one: systemd before 250 gives a dynamic user folders that it cannot reach then.
    """
    return f"{owner_name(vm)}.{part}" if part else owner_name(vm)


def vm_of_directory(name: str) -> str:
    """The VM to which a folder of ours belongs, by the folder's name; empty for any other folder."""
    match = _DIRECTORY.match(name)
    return match.group(1) if match else ""


def runtime_directory(vm: str) -> str:
    return f"/run/{directory_name(vm)}"


def state_directory(vm: str) -> str:
    return f"/var/lib/{directory_name(vm)}"


def cache_directory(vm: str) -> str:
    return f"/var/cache/{directory_name(vm)}"


def log_directory(vm: str) -> str:
    return f"/var/log/{directory_name(vm)}"


def writes_of_overlay(path: str) -> str:
    """How a disk is written whose overlay is at a path of ours; empty for any other path."""
    folders = {"overlay": state_directory(""), "discard": cache_directory("")}
    return next((writes for writes, folder in folders.items() if path.startswith(folder)), "")


def qmp_socket(vm: str) -> str:
    return f"{runtime_directory(vm)}/qmp.sock"


def console_log(vm: str) -> str:
    return f"{log_directory(vm)}/console.log"


def helper_directory(vm: str, part: str) -> str:
    """The runtime directory of a helper process."""
    return f"/run/{directory_name(vm, part)}"


def credential_file(owner: str, name: str, *, encrypted: bool) -> str:
    """Where a credential of a machine or a staged image is kept at rest, in systemd's own folders for them."""
    return f"{ENCRYPTED_CREDENTIALS if encrypted else CREDENTIALS}/{owner}.{name}"


def owner_of_credential(path: str) -> str:
    """The machine or staged image (owner_name(), image_owner_name()) of a credential at rest; empty for other files."""
    match = _CREDENTIAL.match(path.rpartition("/")[2])
    return match.group(1) if match else ""


def credential_name(path: str) -> str:
    """The name under which a unit knows a credential at rest."""
    match = _CREDENTIAL.match(path.rpartition("/")[2])
    return match.group(2) if match else ""
