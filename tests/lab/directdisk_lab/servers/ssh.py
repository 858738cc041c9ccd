# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An sshd beside the host's own, for one user with three keys: one plain, one with a passphrase, one to change to."""

from __future__ import annotations

import base64
import hashlib
import secrets

from ..disks import STORAGE_USER
from ..host_files import Files
from ..keys import make_ssh_key
from ..settings import Settings
from ..yaml_text import Value
from .server import ETC, SYSTEM, Server, Site

USER = "images"
FOLDER = "/srv/ssh"
PORT = 2222
KEYS = ("plain", "protected", "rotated")
# sshd needs a user whose account is not locked.
MAKE_USER = f"systemd-sysusers\nusermod --password '*' {USER}"


def _public(settings: Settings, name: str) -> str:
    return (settings.image_key(name).with_suffix(".pub")).read_text().strip()


def _files(site: Site) -> Files:
    files = Files()
    keys = [_public(site.settings, name) for name in KEYS]
    files.add(f"{ETC}/ssh/authorized_keys", "".join(f"{key}\n" for key in keys))
    files.add_own(f"{ETC}/ssh/sshd_config", "sshd_config")
    files.add_own(f"{SYSTEM}/lab-sshd.service", "lab-sshd.service")
    files.add("etc/sysusers.d/lab-ssh.conf", f'u {USER} {STORAGE_USER} "Owner of images" {FOLDER} /bin/bash\n')
    return files


def _host_key(site: Site) -> dict[str, Value]:
    """The host's key, once the lab knows it."""
    known = site.settings.known_hosts.read_text().splitlines()
    keys = [line.split(" ", 1)[1] for line in known if line.startswith(f"{site.address},")]
    if not keys:
        return {}
    blob = base64.b64decode(keys[0].split()[1])
    hashes = {name: hashlib.new(name, blob).hexdigest() for name in ("sha256", "sha1", "md5")}
    return {
        "lab_ssh_known_hosts": f"[{site.address}]:{PORT} {keys[0]}\n",
        **{f"lab_ssh_host_key_{name}": value for name, value in hashes.items()},
    }


def _facts(site: Site) -> dict[str, Value]:
    return {
        "lab_ssh_user": USER,
        "lab_ssh_port": PORT,
        "lab_ssh_folder": FOLDER,
        **{f"lab_ssh_{name}_public_key": _public(site.settings, name) for name in KEYS},
        **_host_key(site),
    }


def _secrets(settings: Settings) -> dict[str, str]:
    passphrase = secrets.token_urlsafe(12)
    for name in KEYS:
        make_ssh_key(settings.image_key(name), name, passphrase if name == "protected" else "")
    keys = {f"lab_ssh_{name}_key": settings.image_key(name).read_text() for name in KEYS}
    return {**keys, "lab_ssh_protected_key_passphrase": passphrase}


SERVER = Server("ssh", ("lab-sshd.service",), _files, before=lambda site: MAKE_USER, facts=_facts, secrets=_secrets)
