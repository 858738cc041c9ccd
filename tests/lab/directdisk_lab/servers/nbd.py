# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""nbdkit: every file of /srv/nbd as an export, over TCP, TLS and a unix socket."""

from __future__ import annotations

import secrets

from ..host_files import Files
from ..keys import PSK_USER
from ..settings import Settings
from ..yaml_text import Value
from .server import ETC, SYSTEM, Server, Site

PORT, TLS_PORT, PSK_PORT = 10809, 10810, 10811
# nbdkit's options by service instance.
OPTIONS = {
    "unix": "--unix=/run/lab-nbd-unix/socket",
    "plain": f"--port={PORT}",
    "tls": f"--port={TLS_PORT} --tls=require --tls-verify-peer --tls-certificates=/{ETC}/tls",
    "psk": f"--port={PSK_PORT} --tls=require --tls-psk=/{ETC}/psk/keys.psk",
}


def _files(site: Site) -> Files:
    files = Files()
    files.add_own(f"{SYSTEM}/lab-nbd@.service", "lab-nbd@.service")
    for name, options in OPTIONS.items():
        files.add(f"{ETC}/nbd/{name}.env", f"NBDKIT_OPTIONS={options}\n")
    return files


def _facts(site: Site) -> dict[str, Value]:
    return {
        "lab_nbd_port": PORT,
        "lab_nbd_tls_port": TLS_PORT,
        "lab_nbd_psk_port": PSK_PORT,
        "lab_host_tls_dir": f"/{ETC}/tls",
        "lab_host_psk_dir": f"/{ETC}/psk",
    }


def _secrets(settings: Settings) -> dict[str, str]:
    return {
        "lab_nbd_psk": secrets.token_hex(32),
        "lab_nbd_psk_user": PSK_USER,
        "lab_nbd_psk_file": str(settings.psk),
        "lab_nbd_psk_dir": str(settings.psk.parent),
        "lab_nbd_tls_dir": str(settings.tls / "client"),
    }


SERVER = Server("nbd", tuple(f"lab-nbd@{name}.service" for name in OPTIONS), _files, facts=_facts, secrets=_secrets)
