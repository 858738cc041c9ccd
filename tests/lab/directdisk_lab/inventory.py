# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The inventory of the running lab."""

from __future__ import annotations

from collections.abc import Mapping

from .disks import DISKS
from .hosts import BY_NAME, HOSTS, Host
from .servers import SERVERS
from .servers.server import Site
from .settings import Settings
from .yaml_text import Value, to_yaml


def connection(settings: Settings) -> dict[str, Value]:
    options = {
        "UserKnownHostsFile": settings.known_hosts,
        "GlobalKnownHostsFile": "/dev/null",
        "StrictHostKeyChecking": "yes",
        "IdentitiesOnly": "yes",
    }
    common = " ".join(f"-o {name}={value}" for name, value in options.items())
    return {
        "ansible_user": "root",
        "ansible_ssh_private_key_file": str(settings.key),
        "ansible_ssh_common_args": f"-F /dev/null {common}",
        "ansible_ssh_args": "-o ControlMaster=auto -o ControlPersist=60s",
        "ansible_control_path_dir": str(settings.sockets),
        "ansible_control_path": "%(directory)s/%%h-%%r",
        "ansible_pipelining": True,
        "ansible_ssh_pipelining": True,
        "ansible_python_interpreter": "/usr/bin/python3",
    }


def facts(site: Site) -> dict[str, Value]:
    """Variables of the storage host and its servers."""
    of_servers = [server.facts(site) for server in SERVERS]
    return {
        "lab_state_dir": str(site.settings.state),
        "lab_storage_name": site.host.name,
        "lab_storage_address": site.address,
        "lab_storage_disks": disks(site.host.name),
        "lab_storage_units": {server.name: list(server.units) for server in SERVERS if server.group == "storage"},
        **{name: value for values in of_servers for name, value in values.items()},
    }


def disks(host_name: str) -> Value:
    names = ("place", "name", "path", "format", "size", "marker")
    return [{name: getattr(disk, name) for name in names} for disk in DISKS if disk.host == host_name]


def _group(settings: Settings, group: str, names: set[str]) -> Value:
    rows: dict[str, Value] = {}
    for host in HOSTS:
        if host.group == group and host.name in names:
            rows[host.name] = _host_vars(settings, host)
    return {"hosts": rows}


def _host_vars(settings: Settings, host: Host) -> Value:
    address = settings.address(host)
    return {"ansible_host": address, "lab_address": address, "lab_suite": host.suite, "lab_disks": disks(host.name)}


def write(settings: Settings, names: set[str], secrets: Mapping[str, str]) -> None:
    """Write the inventory of the named hosts, and link the secrets beside it."""
    groups: dict[str, Value] = {group: _group(settings, group, names) for group in ("hypervisors", "storage")}
    storage = Site(settings, BY_NAME["storage1"], secrets)
    folder = settings.inventory.parent
    variables = folder / "group_vars" / "all"
    variables.mkdir(parents=True, exist_ok=True)
    (variables / "lab.yml").write_text("---\n" + to_yaml({**connection(settings), **facts(storage)}))
    link = variables / "secrets.yml"
    if not link.is_symlink():
        link.symlink_to(settings.secrets)
    settings.inventory.write_text("---\n" + to_yaml({"all": {"children": groups}}))
