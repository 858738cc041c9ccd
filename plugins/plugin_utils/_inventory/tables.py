# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rows of disks as text tables. Pure."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.directdisk.qemu.plugins.plugin_utils._inventory.declared import DeclaredFleet, Row

_COLUMNS = ("host", "vm", "state", "disk", "backend", "storage", "format", "size", "writes", "route", "source")
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def human(size: int | None) -> str:
    """Return a number of bytes in the largest unit of which it has at least one."""
    if not size:
        return "-"
    power = (size.bit_length() - 1) // 10
    return f"{round(size / (1 << 10 * power), 1):g} {_UNITS[power]}"


def layout(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return columns as wide as their widest cells, without those that are empty in every row."""
    lines = list(rows)
    used = [column for column in range(len(titles)) if any(line[column] not in ("", "-") for line in lines)]
    table = [[titles[column].upper() for column in used], *([line[column] for column in used] for line in lines)]
    widths = [max(map(len, column)) for column in zip(*table)]
    table.insert(1, ["-" * width for width in widths])
    return "".join("  ".join(map(str.ljust, line, widths)).rstrip() + "\n" for line in table)


def disks(rows: Iterable[Row]) -> str:
    """Return a line for each disk."""
    return layout(_COLUMNS, ([_cell(row, column) for column in _COLUMNS] for row in rows))


def _cell(row: Mapping[str, Any], column: str) -> str:
    return human(row["size"]) if column == "size" else str(row[column] or "-")


def answer(result: Any) -> str:
    """Return the result of a query: rows as a table, anything else line by line."""
    if not isinstance(result, list):
        result = [result]
    if result and all(isinstance(item, Mapping) and item.keys() >= set(_COLUMNS) for item in result):
        return disks(result)
    if result and all(isinstance(item, Mapping) and item.keys() == result[0].keys() for item in result):
        return layout(list(result[0]), ([_text(value) for value in item.values()] for item in result))
    return "".join(f"{_text(item)}\n" for item in result)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def summary(fleet: DeclaredFleet, rows: Iterable[Row]) -> str:
    """Return the numbers of disks and bytes on each backend, host and pool."""
    present = [row for row in rows if row["state"] != "absent"]
    tables = [
        layout(("backend", *_SUMS), _sums(present, ("backend",))),
        layout(("host", "started", *_SUMS), _hosts(fleet, present)),
        layout(("backend", "pool", *_SUMS), _sums(present, ("backend", "pool"))),
    ]
    return "\n".join(tables)


_SUMS = ("vms", "disks", "declared size")


def _sums(rows: Iterable[Mapping[str, Any]], keys: Sequence[str]) -> list[list[str]]:
    groups: dict[tuple[str, ...], list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        groups[tuple(row[key] for key in keys)].append(row)
    return [[*key, *_sum(groups[key])] for key in sorted(groups)]


def _sum(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    vms = len({(row["host"], row["vm"]) for row in rows})
    return [str(vms), str(len(rows)), human(sum(row["size"] or 0 for row in rows))]


def _hosts(fleet: DeclaredFleet, rows: Iterable[Row]) -> list[list[str]]:
    """Return the hosts in the order of the inventory, including those whose VMs have no disk."""
    disks_of: dict[str, list[Row]] = {host: [] for host in fleet.hosts}
    for row in rows:
        disks_of[row["host"]].append(row)
    vms: dict[str, list[str]] = {host: [] for host in fleet.hosts}
    for one in fleet.vms:
        if one.present:
            vms[one.host].append(one.vm.state)
    return [
        [host, str(states.count("started")), str(len(states)), *_sum(disks_of[host])[1:]]
        for host, states in vms.items()
    ]
