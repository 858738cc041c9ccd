# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table at the end of a run: the VMs that changed or need somebody, and the number of all others. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

from ansible_collections.directdisk.qemu.plugins.module_utils._errors import printable_data
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.vm_states import HALTED
from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run import steps
from ansible_collections.directdisk.qemu.plugins.plugin_utils._inventory import tables

_MOST_ROWS = 40
_WIDEST = 70
_TITLES = ("host", "vm", "state", "changed", "restart required", "note")
_FAILED = "failed: see its error above"
_NOT_REACHED = "not changed: the run ended before"


class TableRow(TypedDict):
    """A VM, a host without an answer, or a host that changes while its VMs stay as they are."""

    host: str
    vm: str
    """Empty in rows about a host."""
    state: str
    changed: list[str]
    """Changes of this run, in check mode those that it would make; a few words each."""
    restart_required: list[str]
    """Reasons."""
    note: str
    undeclared: bool


@dataclass(frozen=True)
class RunTable:
    """The rows about all hosts of a play, and the numbers of what has no row."""

    rows: list[TableRow]
    others: int
    """VMs that are as declared."""
    left_out: int
    """VMs that the run leaves as they are, because it is for others."""
    hosts: int
    """Hosts that answered."""
    later: int
    """Hosts that were not asked yet."""


def run_table(results: Mapping[str, Mapping[str, Any]], *, check: bool) -> RunTable:
    """Return the table of a run; results: registered, by host; check: nothing was changed."""
    observed = steps.observed_results(results)
    after = {host: result["fleet"] for host, result in observed.items()} if check else steps.reports_of(results)
    rows: list[TableRow] = []
    others = left_out = later = 0
    for host, registered in sorted(results.items()):
        if host in observed:
            its = list(_rows_of_host(host, observed[host], registered, after[host], check=check))
            here, without = _left_out(observed[host], its)
            rows += its
            left_out += without
            others += 0 if _is_unplanned(observed[host]) else here - without
        elif registered.get(steps.OBSERVED):
            rows.append(_row(host, "", "unreachable" if registered[steps.OBSERVED].get("unreachable") else "failed"))
        else:
            later += 1
    rows.sort(key=_urgency)
    return RunTable(printable_data(rows), others, left_out, len(observed), later)


def _is_unplanned(observed: Mapping[str, Any]) -> bool:
    """Return if a host lacks packages and was not observed again after their installation."""
    return bool(observed.get("missing")) and "changes" not in observed


def _left_out(observed: Mapping[str, Any], rows: Collection[TableRow]) -> tuple[int, int]:
    """Return the number of declared VMs without a row, and how many of them the run leaves out."""
    named = {row["vm"] for row in rows if not row["undeclared"]}
    without = set(observed["fleet"]["declared"]) - named
    return len(without), len(without.intersection(observed.get("left_out") or ()))


def _rows_of_host(
    host: str, observed: Mapping[str, Any], registered: Mapping[str, Any], report: Mapping[str, Any], *, check: bool
) -> Iterator[TableRow]:
    applied = steps.applied_result(observed["fleet"], registered)
    last = {**observed, **applied}
    changes: Mapping[str, list[str]] = last.get("changes") or {}
    required: Mapping[str, list[str]] = last.get("restart_required") or {}
    failed = set(last.get("failures") or ())
    broken = not applied and bool((registered.get(steps.APPLIED) or {}).get("failed"))
    not_done = bool(observed.get("due")) and not applied
    not_done_note = _FAILED if broken else _NOT_REACHED
    runs = {vm["name"] for vm in report["runs"] if vm["runs"] and not vm["process"]}
    halted = {name: state for name, state in (report.get("halted") or {}).items() if name in runs}
    undeclared = set(report["undeclared"])
    for name in sorted({*changes, *required, *failed, *halted, *undeclared}):
        notes = [
            *([_FAILED] if name in failed else []),
            *([not_done_note] if not_done and name in changes else []),
            *(["not declared"] if name in undeclared else []),
        ]
        state = HALTED[halted[name]] if name in halted else "running" if name in runs else "stopped"
        state = "" if name in failed or not name else state
        row = _row(host, name, state, "; ".join(notes), undeclared=name in undeclared)
        changed = [] if not_done or name in failed else list(changes.get(name, ()))
        yield {**row, "changed": changed, "restart_required": list(required.get(name, ()))}
    if _is_unplanned(observed):
        # Only check mode leaves packages away: a run installs them and plans, unless it ends before.
        yield _row(host, "", "", "lacks packages, so that its VMs are not planned" if check else _NOT_REACHED)
    for vm in report["runs"]:
        if vm["process"]:
            yield _row(host, vm["name"], "running", f"not declared ({vm['process']})", undeclared=True)


def _row(host: str, vm: str, state: str, note: str = "", *, undeclared: bool = False) -> TableRow:
    return {
        "host": host,
        "vm": vm,
        "state": state,
        "changed": [],
        "restart_required": [],
        "note": note,
        "undeclared": undeclared,
    }


def _urgency(row: TableRow) -> tuple[int, str, str]:
    """Return the place of a row: what needs somebody stands first, since only so many rows are printed."""
    about_host = not row["vm"] and not row["changed"]
    needs_somebody = about_host or bool(row["note"]) or row["state"] in HALTED.values()
    return 0 if needs_somebody else 1 if row["restart_required"] else 2, row["host"], row["vm"]


def lines_of(table: RunTable, *, check: bool) -> list[str]:
    """Return the table for a terminal."""
    shown = table.rows[:_MOST_ROWS]
    titles = ["would change" if check and title == "changed" else title for title in _TITLES]
    lines = tables.layout(titles, map(_cells, shown)).splitlines() if shown else []
    if len(table.rows) > len(shown):
        lines.append(f"... and {len(table.rows) - len(shown)} more (directdisk.qemu.report shows all)")
    other = "other " if shown else ""
    lines.append(f"{_number(table.others, f'{other}VM')} on {_number(table.hosts, 'host')} as declared")
    if table.left_out:
        lines.append(f"{_number(table.left_out, 'VM')} left unchanged by qemu_vms_only")
    if table.later:
        lines.append(f"{_number(table.later, 'host')} not asked yet")
    if any(row["restart_required"] for row in table.rows):
        lines.append("to restart what requires it: -e qemu_vms_restart=due")
    return lines


def _number(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _cells(row: TableRow) -> Sequence[str]:
    return (
        row["host"],
        _cut(row["vm"]) or "-",
        row["state"] or "-",
        _cut(", ".join(row["changed"])) or "-",
        _cut("; ".join(row["restart_required"])) or "-",
        _cut(row["note"]) or "-",
    )


def _cut(text: str) -> str:
    text = text.replace("\t", " ")
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 3]}..."
