# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""nginx: http and https over /srv/images."""

from __future__ import annotations

import secrets

from ..host_files import Files
from ..keys import hashed
from ..settings import FILES, Settings
from ..yaml_text import Value
from .server import ETC, Server, Site

USER = "joe"


def _files(site: Site) -> Files:
    files = Files()
    files.add(f"{ETC}/htpasswd", f"{USER}:{hashed(site.secrets['lab_http_password'])}\n", 0o600)
    cookie = site.secrets["lab_http_cookie"].split("=", 1)[1]
    conf = (FILES / "nginx.conf").read_text().replace("@COOKIE@", cookie)
    files.add("etc/nginx/nginx.conf", conf)
    return files


def _facts(site: Site) -> dict[str, Value]:
    return {"lab_http_url": f"http://{site.address}", "lab_https_url": f"https://{site.address}"}


def _secrets(settings: Settings) -> dict[str, str]:
    return {
        "lab_http_user": USER,
        "lab_http_password": secrets.token_urlsafe(12),
        "lab_http_cookie": f"tok={secrets.token_hex(12)}",
        "lab_ca_file": str(settings.tls / "ca-cert.pem"),
    }


SERVER = Server("http", ("nginx.service",), _files, facts=_facts, secrets=_secrets)
