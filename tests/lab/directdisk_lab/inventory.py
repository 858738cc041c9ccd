# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The inventory of the running lab."""

from __future__ import annotations

import json
from typing import Union

from .disks import DISKS
from .hosts import BY_NAME, HOSTS, Host
from .settings import Settings

Value = Union[str, int, bool, None, "list[Value]", "dict[str, Value]"]


def to_yaml(value: Value, indent: int = 0) -> str:
    """Block style for mappings and lists, JSON for scalars: enough YAML for an inventory."""
    pad = "  " * indent
    if isinstance(value, dict) and value:
        return "".join(f"{pad}{key}:{_child(child, indent + 1)}" for key, child in value.items())
    if isinstance(value, list) and value:
        return "".join(f"{pad}- {json.dumps(item)}\n" for item in value)
    return f"{pad}{json.dumps(value)}\n"


def _child(value: Value, indent: int) -> str:
    if isinstance(value, (dict, list)) and value:
        return "\n" + to_yaml(value, indent)
    return f" {json.dumps(value)}\n"


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


def facts(settings: Settings) -> dict[str, Value]:
    address = settings.address(BY_NAME["storage1"])
    return {
        "lab_state_dir": str(settings.state),
        "lab_storage_name": "storage1",
        "lab_storage_address": address,
        "lab_http_url": f"http://{address}",
        "lab_https_url": f"https://{address}",
        "lab_nbd_port": 10809,
        "lab_nbd_tls_port": 10810,
        "lab_nbd_psk_port": 10811,
        "lab_nbd_socket": "/run/lab-nbd-unix/socket",
        "lab_host_tls_dir": "/etc/directdisk-lab/tls",
        "lab_host_psk_dir": "/etc/directdisk-lab/psk",
        "lab_storage_disks": disks("storage1"),
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
    return {
        "ansible_host": address,
        "lab_address": address,
        "lab_suite": host.suite,
        "lab_disks": disks(host.name),
    }


def write(settings: Settings, names: set[str]) -> None:
    """Write the inventory of the named hosts, and link the secrets beside it."""
    groups: dict[str, Value] = {group: _group(settings, group, names) for group in ("hypervisors", "storage")}
    folder = settings.inventory.parent
    variables = folder / "group_vars" / "all"
    variables.mkdir(parents=True, exist_ok=True)
    (variables / "lab.yml").write_text("---\n" + to_yaml({**connection(settings), **facts(settings)}))
    link = variables / "secrets.yml"
    if not link.is_symlink():
        link.symlink_to(settings.secrets)
    settings.inventory.write_text("---\n" + to_yaml({"all": {"children": groups}}))
