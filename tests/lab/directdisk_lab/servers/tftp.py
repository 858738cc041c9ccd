# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""tftpd-hpa over /srv/images, read-only."""

from __future__ import annotations

from ..host_files import Files
from ..yaml_text import Value
from .server import Server, Site

DEFAULTS = """\
TFTP_USERNAME=tftp
TFTP_DIRECTORY=/srv/images
TFTP_ADDRESS=0.0.0.0:69
TFTP_OPTIONS=--secure
"""


def _files(site: Site) -> Files:
    files = Files()
    files.add("etc/default/tftpd-hpa", DEFAULTS)
    return files


def _facts(site: Site) -> dict[str, Value]:
    return {"lab_tftp_url": f"tftp://{site.address}"}


SERVER = Server("tftp", ("tftpd-hpa.service",), _files, facts=_facts)
