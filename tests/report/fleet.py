# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A large fleet: its declarations, and what its hosts would answer."""

from __future__ import annotations

from typing import Any

from ansible_collections.directdisk.qemu.plugins.plugin_utils._inventory.declared import read_fleet
from ansible_collections.directdisk.qemu.plugins.plugin_utils._inventory.reports import report

GIB = 1 << 30
AWAY = "hv07"
"""A host that does not answer."""


def large(hosts: int = 20, vms: int = 50) -> dict[str, Any]:
    """The report of a fleet whose VMs have three disks each."""
    names = [f"hv{number:02}" for number in range(1, hosts + 1)]
    declared = {host: {"qemu_vms": {f"{host}-vm{n:02}": _vm(f"{host}-vm{n:02}") for n in range(vms)}} for host in names}
    size = {"memory": 256 * GIB, "swap": 0, "cpus": 128}
    looks = {host: {"vms": {vm: _running(vm) for vm in declared[host]["qemu_vms"]}, "host": size} for host in names}
    looks["hv05"]["host"] = {**size, "memory": 128 * GIB}
    looks[AWAY] = {"unreachable": True, "msg": "No route to host"}
    looks["hv01"]["vms"]["stray"] = _running("stray")
    del looks["hv02"]["vms"]["hv02-vm05"]
    looks["hv03"]["vms"]["hv03-vm01"]["restart_needed"] = True
    failing = looks["hv04"]["vms"]["hv04-vm01"]
    failing["status"] = "io-error"
    failing["disks"]["data"].update(io_status="failed", io={**failing["disks"]["data"]["io"], "errors": 3})
    return report(read_fleet(declared), looks)


def _vm(name: str) -> dict[str, Any]:
    number = int(name[-2:])
    cluster = {"pool": "vms", "user": "qemu", "key": "c2VjcmV0", "monitors": ["192.0.2.1", "192.0.2.2", "192.0.2.3"]}
    target = {"portal": "192.0.2.9", "target": f"iqn.2026-01.example:{name}", "lun": 1}
    data: dict[str, Any] = {"nfs": {"host": "nas1", "path": f"/export/{name}.img"}} if number % 2 else {"iscsi": target}
    return {
        "memory": "4GiB",
        "cpus": 4,
        "disks": {
            "root": {"rbd": {**cluster, "image": f"{name}-root"}},
            "data": data,
            "tools": {"https": {"url": "https://images.example/tools.qcow2"}, "format": "qcow2", "writes": "discard"},
        },
    }


def _running(name: str) -> dict[str, Any]:
    io = {"reads": 4201, "read_bytes": 9 * GIB, "writes": 310, "written_bytes": 2 * GIB, "errors": 0}
    disk = {"size": 20 * GIB, "read_only": False, "io_status": "ok", "io": io}
    disks = {name: {**disk, "node": f"{name}.format"} for name in ("root", "data", "tools")}
    facts = {"active": "active", "enabled": True, "status": "running", "opened": {}, "restart_needed": False}
    return {**facts, "unit": f"qemu-vm-{name}.service", "disks": disks}
