# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""fleet_report: write the fleet as one HTML page. Its documentation is the module's."""

from __future__ import annotations

import os
import stat
from datetime import datetime, timezone
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.directdisk.qemu.plugins.module_utils._errors import HostError
from ansible_collections.directdisk.qemu.plugins.module_utils._host import files
from ansible_collections.directdisk.qemu.plugins.plugin_utils._inventory import page, reports
from ansible_collections.directdisk.qemu.plugins.plugin_utils._inventory.declared import read_fleet_in_parallel
from ansible_collections.directdisk.qemu.plugins.plugin_utils._inventory.parallel import collection_paused
from ansible_collections.directdisk.qemu.plugins.plugin_utils._inventory.registered import registered_results

display = Display()
_NO_REPORT = "is there and is no report"


class ActionModule(ActionBase):
    """Compares the answers of the hosts with their declarations, and writes the page if it has changed."""

    _requires_connection = False
    _supports_check_mode = True

    @collection_paused()
    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        del tmp
        hosts, register, path = (self._task.args[name] for name in ("hosts", "answers", "path"))
        if not isinstance(path, str) or not path:
            return {"failed": True, "msg": f"path (report): {path!r} is not the name of a file"}
        path = os.path.abspath(os.path.expanduser(path))
        hostvars = (task_vars or {})["hostvars"]
        answers: dict[str, reports.HostAnswer] = {
            host: found.get(register) or reports.HostAnswer()
            for host, found in registered_results(hostvars, hosts, [register]).items()
        }
        report = reports.report(read_fleet_in_parallel(hostvars, list(answers)), answers)
        try:
            before, after = _pages(path, report)
            if after != before and not self._task.check_mode:
                files.write_atomically(path, after, mode=_mode(path))
        except HostError as error:
            return {"failed": True, "msg": f"{error}; name another file as report"}
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or _NO_REPORT
            return {"failed": True, "msg": f"{path}: {why}; name another file as report"}
        counts = {name: len(report[name]) for name in ("hosts", "vms", "disks")}
        counts["drift"] = sum(bool(row["drift"]) for row in (*report["vms"], *report["disks"]))
        display.display(f"{path}: " + ", ".join(f"{count} {name}" for name, count in counts.items()))
        result = {"changed": after != before, "path": path, **counts}
        if self._task.diff:
            result["diff"] = _diff(path, before, after)
        return result


def _pages(path: str, report: reports.Report) -> tuple[str, str]:
    """Return the existing page and the new one, which are equal if nothing but the time has changed."""
    before = files.read_text(path)
    written = page.written_in(before)
    if before and not written:
        raise ValueError(_NO_REPORT)
    after = page.page(report, written)
    if after != before:
        after = page.page(report, datetime.now(timezone.utc).isoformat(timespec="seconds"))
    return before, after


def _mode(path: str) -> int:
    """Return the mode of the existing page; a new one is for its owner only, because it describes the whole fleet."""
    try:
        return stat.S_IMODE(os.stat(path).st_mode)
    except FileNotFoundError:
        return 0o600


def _diff(path: str, before: str, after: str) -> dict[str, str]:
    """Return the rows that differ."""
    return {
        "before": page.data_of(before) + "\n",
        "after": page.data_of(after) + "\n",
        "before_header": path,
        "after_header": path,
    }
