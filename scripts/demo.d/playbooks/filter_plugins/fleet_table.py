# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: what hypervisors run, as a table for people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Callable

HEAD = ("HOST", "VM", "DISK", "BACKEND", "ROUTE", "SIZE", "STATE", "LAST LINE OF THE CONSOLE")
UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")

Row = tuple[str, ...]


def human(size: int) -> str:
    """Bytes in the largest unit that leaves at least one of it.

    >>> [human(size) for size in (0, 512, 1 << 20, 3 << 29, 2 << 30)]
    ['-', '512 B', '1 MiB', '1.5 GiB', '2 GiB']
    """
    power = min(max(size.bit_length() - 1, 0) // 10, len(UNITS) - 1)
    return f"{round(size / (1 << 10 * power), 1):g} {UNITS[power]}" if size else "-"


def rows(host: str, planned: Mapping[str, Any], running: Mapping[str, Any]) -> Iterator[Row]:
    """One row a disk: how it is reached, from RV(vms) of qemu_vms; what it does, from RV(vms) of qemu_info.

    >>> planned = {"web1": {"disks": [{"disk": "root", "backend": "nbd", "route": "driver"}]}}
    >>> running = {"web1": {"active": "active", "status": "running", "console": "login:",
    ...                     "disks": {"root": {"size": 2097152}}}}
    >>> list(rows("hv1", planned, running))
    [('hv1', 'web1', 'root', 'nbd', 'driver', '2 MiB', 'running', 'login:')]
    >>> list(rows("hv1", planned, {}))
    [('hv1', 'web1', 'root', 'nbd', 'driver', '-', 'absent', '')]
    >>> list(rows("hv1", {}, running))
    [('hv1', 'web1', '-', '-', '-', '-', 'running, undeclared', 'login:')]
    """
    for vm, plan in planned.items():
        facts = running.get(vm, {})
        state = facts.get("status") or facts.get("active", "absent")
        for disk in plan["disks"]:
            size = facts.get("disks", {}).get(disk["disk"], {}).get("size", 0)
            reached = (disk["disk"], disk["backend"], disk["route"], human(size))
            yield (host, vm, *reached, state, facts.get("console", ""))
    for vm in sorted(set(running) - set(planned)):
        facts = running[vm]
        yield (host, vm, "-", "-", "-", "-", f"{facts['status'] or facts['active']}, undeclared", facts["console"])


def grouped(table: Iterable[Row]) -> Iterator[Row]:
    """Rows that do not repeat the host, nor what belongs to the VM, of the row above.

    >>> list(grouped([("hv1", "a", "root", "", "", "", "on", "x"), ("hv1", "a", "data", "", "", "", "on", "x")]))
    [('hv1', 'a', 'root', '', '', '', 'on', 'x'), ('', '', 'data', '', '', '', '', '')]
    """
    above: Row = ("", "")
    for row in table:
        host, vm, *disk, state, console = row
        if row[:2] == above[:2]:
            yield ("", "", *disk, "", "")
        else:
            yield ("" if host == above[0] else host, vm, *disk, state, console)
        above = row


def layout(table: Sequence[Row]) -> str:
    """Columns as wide as their widest cell.

    >>> print(layout([("HOST", "VM"), ("hv1", "web1")]))
    HOST  VM
    ----  ----
    hv1   web1
    """
    widths = [max(map(len, column)) for column in zip(*table)]
    lines = [table[0], tuple("-" * width for width in widths), *table[1:]]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def fleet_table(hosts: Iterable[Mapping[str, Any]]) -> str:
    """The table of hosts, from their variables."""
    found = [
        row
        for host in hosts
        for row in rows(host["inventory_hostname"], host["table_planned"]["vms"], host["table_running"]["vms"])
    ]
    return layout([HEAD, *grouped(found)]) + "\n"


class FilterModule:
    """Ansible finds the filter here."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"fleet_table": fleet_table}
