# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""qemu-nbd, which has one export a process: on storage1 one for each hypervisor, on a hypervisor a unix socket."""

from __future__ import annotations

from ..host_files import Files
from ..hosts import BY_NAME, HYPERVISORS
from ..yaml_text import Value
from .server import ETC, SYSTEM, Server, Site

PORTS = {host: 10820 + BY_NAME[host].offset for host in HYPERVISORS}
SOCKET = "/run/lab-qemu-nbd-local/socket"


def _unit(instance: str) -> str:
    return f"lab-qemu-nbd@{instance}.service"


def _options(host_name: str) -> dict[str, str]:
    """qemu-nbd's options by service instance."""
    if host_name in PORTS:
        return {"local": f"--socket={SOCKET} --export-name=local /srv/qemu-nbd/local"}
    names = {hypervisor: f"qemu-nbd-{hypervisor}" for hypervisor in HYPERVISORS}
    return {
        hypervisor: f"--port={PORTS[hypervisor]} --export-name={name} /srv/qemu-nbd/{name}"
        for hypervisor, name in names.items()
    }


def _files(site: Site) -> Files:
    files = Files()
    files.add_own(f"{SYSTEM}/{_unit('')}", "lab-qemu-nbd@.service")
    for instance, options in _options(site.host.name).items():
        files.add(f"{ETC}/qemu-nbd/{instance}.env", f"QEMU_NBD_OPTIONS={options}\n")
    return files


def _facts(site: Site) -> dict[str, Value]:
    return {"lab_qemu_nbd_ports": {**PORTS}}


def _local_facts(site: Site) -> dict[str, Value]:
    return {"lab_nbd_socket": SOCKET}


SERVER = Server("qemu-nbd", tuple(map(_unit, HYPERVISORS)), _files, facts=_facts)
LOCAL = Server("nbd-local", (_unit("local"),), _files, group="hypervisors", facts=_local_facts)
