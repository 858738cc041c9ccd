# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""tgt: for each hypervisor a target with CHAP (LUN 1 boots, LUN 2 is empty) and one without."""

from __future__ import annotations

import secrets

from ..host_files import Files
from ..hosts import HYPERVISORS
from ..settings import Settings
from ..yaml_text import Value
from .server import Server, Site

IQN = "iqn.2026-01.lab.directdisk"
USER = "chap"
PORT = 3260
TARGET = """\
<target {iqn}>
{account}{luns}</target>
"""
LUN = """\
  <backing-store /srv/iscsi/{file}>
    lun {number}
  </backing-store>
"""


def _target(name: str, account: str, *files: str) -> str:
    luns = "".join(LUN.format(file=file, number=number) for number, file in enumerate(files, 1))
    return TARGET.format(iqn=f"{IQN}:{name}", account=account, luns=luns)


def _files(site: Site) -> Files:
    account = f"  incominguser {USER} {site.secrets['lab_iscsi_password']}\n"
    text = ""
    for host in HYPERVISORS:
        text += _target(host, account, f"iscsi-{host}", f"iscsi-data-{host}")
        text += _target(f"open-{host}", "", f"iscsi-open-{host}")
    files = Files()
    files.add("etc/tgt/conf.d/lab.conf", text, 0o600)
    return files


def _facts(site: Site) -> dict[str, Value]:
    return {"lab_iscsi_portal": f"{site.address}:{PORT}", "lab_iscsi_iqn": IQN, "lab_iscsi_user": USER}


def _secrets(settings: Settings) -> dict[str, str]:
    return {"lab_iscsi_password": secrets.token_hex(8)}


SERVER = Server("iscsi", ("tgt.service",), _files, facts=_facts, secrets=_secrets)
