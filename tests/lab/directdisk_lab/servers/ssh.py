# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host's own sshd, for a user of its own with three keys: one plain, one with a passphrase, one to change to."""

from __future__ import annotations

import base64
import hashlib
import secrets

from ..disks import STORAGE_USER
from ..host_files import Files
from ..keys import make_ssh_key
from ..settings import Settings
from ..yaml_text import Value
from .server import ETC, Server, Site

USER = "images"
FOLDER = "/srv/ssh"
AUTHORIZED_KEYS = f"{ETC}/ssh/{USER}.keys"
KEYS = ("plain", "protected", "rotated")
CONF = f"""\
MaxStartups 100
Match User {USER}
  AuthorizedKeysFile /{AUTHORIZED_KEYS}
"""


def _public(settings: Settings, name: str) -> str:
    return (settings.image_key(name).with_suffix(".pub")).read_text().strip()


def _files(site: Site) -> Files:
    files = Files()
    keys = [_public(site.settings, name) for name in KEYS]
    files.add(AUTHORIZED_KEYS, "".join(f"{key}\n" for key in keys))
    files.add("etc/ssh/sshd_config.d/lab.conf", CONF)
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
        "lab_ssh_known_hosts": f"{site.address} {keys[0]}\n",
        **{f"lab_ssh_host_key_{name}": value for name, value in hashes.items()},
    }


def _facts(site: Site) -> dict[str, Value]:
    return {
        "lab_ssh_user": USER,
        "lab_ssh_port": 22,
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


SERVER = Server("ssh", ("ssh.service",), _files, before=lambda site: "systemd-sysusers", facts=_facts, secrets=_secrets)
