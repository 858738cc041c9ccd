# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Targets as tgt's configuration files keep them for its next start. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

FOLDER = "/etc/tgt/conf.d"
OURS = "directdisk."
"""Prefix of the names of our configuration files, one for each target."""


@dataclass(frozen=True)
class KeptLun:
    """A LUN in a configuration file."""

    store: str
    serial: str
    thin: bool = False
    read_only: bool = False

    def parameters(self) -> dict[str, str]:
        """Return tgtd's parameters of an existing LUN; thin is last, because it changes pages that others fill."""
        return {
            "scsi_sn": self.serial,
            "scsi_id": self.serial,
            "readonly": str(int(self.read_only)),
            "thin_provisioning": str(int(self.thin)),
        }


@dataclass(frozen=True)
class KeptTarget:
    """A target in a configuration file."""

    name: str
    luns: Mapping[int, KeptLun] = field(default_factory=dict)
    user: str = ""
    password: str = field(default="", repr=False)
    initiators: tuple[str, ...] = ()

    @property
    def path(self) -> str:
        return f"{FOLDER}/{OURS}{quote(self.name, safe=':')}.conf"

    def text(self) -> str:
        lines = ["# Kept by directdisk.qemu.qemu_iscsi_disk.", f"<target {self.name}>"]
        lines += [f"  incominguser {self.user} {self.password}"] if self.user else []
        for initiator in self.initiators:
            lines.append(f"  initiator-{'name' if is_name(initiator) else 'address'} {initiator}")
        for number, lun in sorted(self.luns.items()):
            parameters = lun.parameters()
            thin = parameters.pop("thin_provisioning")
            lines += [f"  <backing-store {lun.store}>", f"    lun {number}"]
            lines += [f"    {name} {value}" for name, value in parameters.items()]
            lines += [f"    params thin_provisioning={thin}", "  </backing-store>"]
        return "\n".join([*lines, "</target>", ""])


def is_name(initiator: str) -> bool:
    """Return True if an initiator is declared by its name, not by its address."""
    return initiator.startswith(("iqn.", "eui.", "naa."))


def parse_kept(name: str, text: str) -> KeptTarget:
    luns: dict[int, KeptLun] = {}
    for store, body in re.findall(r"<backing-store (\S+)>\n(.*?)</backing-store>", text, re.DOTALL):
        values = dict(line.split(None, 1) for line in body.splitlines() if len(line.split(None, 1)) == 2)
        thin = values.get("params") == "thin_provisioning=1"
        luns[int(values["lun"])] = KeptLun(store, values.get("scsi_sn", ""), thin, values.get("readonly") == "1")
    user = re.search(r"^  incominguser (\S+) (\S+)$", text, re.MULTILINE)
    initiators = tuple(re.findall(r"^  initiator-(?:name|address) (\S+)$", text, re.MULTILINE))
    return KeptTarget(name, luns, user[1] if user else "", user[2] if user else "", initiators)
