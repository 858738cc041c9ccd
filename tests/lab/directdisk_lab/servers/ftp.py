# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""vsftpd over /srv/images: ftp, and ftps with implicit TLS."""

from __future__ import annotations

import secrets
import shlex

from ..host_files import Files
from ..keys import hashed
from ..settings import FILES, Settings
from ..yaml_text import Value
from .server import ETC, SYSTEM, Server, Site

USER = "ann"
SCHEMES = ("ftp", "ftps")
PAM = "auth required pam_unix.so\naccount required pam_unix.so\n"


def _files(site: Site) -> Files:
    files = Files()
    files.add_own(f"{SYSTEM}/lab-ftp@.service", "lab-ftp@.service")
    common = (FILES / "vsftpd.conf").read_text()
    for scheme in SCHEMES:
        files.add(f"{ETC}/ftp/{scheme}.conf", common + (FILES / f"vsftpd-{scheme}.conf").read_text())
    files.add("etc/pam.d/lab-ftp", PAM)
    files.add("etc/sysusers.d/lab-ftp.conf", f'u {USER} - "Reader of images" /srv/images /usr/sbin/nologin\n')
    return files


def _before(site: Site) -> str:
    password = shlex.quote(hashed(site.secrets["lab_ftp_password"]))
    return f"systemd-sysusers\nusermod --password {password} {USER}"


def _facts(site: Site) -> dict[str, Value]:
    urls: dict[str, Value] = {f"lab_{scheme}_url": f"{scheme}://{site.address}" for scheme in SCHEMES}
    return {**urls, "lab_ftp_user": USER}


def _secrets(settings: Settings) -> dict[str, str]:
    return {"lab_ftp_password": secrets.token_urlsafe(12)}


SERVER = Server(
    "ftp",
    tuple(f"lab-ftp@{scheme}.service" for scheme in SCHEMES),
    _files,
    before=_before,
    facts=_facts,
    secrets=_secrets,
)
