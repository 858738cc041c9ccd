# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""fleet_summary: print what a run has changed and what needs somebody. Its documentation is the module's."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from ansible.plugins.action import ActionBase

from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run import run_table, steps
from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run.output import show
from ansible_collections.directdisk.qemu.plugins.plugin_utils._inventory.registered import registered_results


class ActionModule(ActionBase):
    """Prints one table for all hosts of a play, and returns its rows."""

    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        del tmp
        variables = task_vars or {}
        check = bool(self._task.check_mode)
        results = registered_results(variables["hostvars"], variables["ansible_play_hosts_all"], steps.REGISTERED)
        # Ansible counts hosts that failed to neither list.
        batch, active = variables["ansible_play_batch"], variables["ansible_play_hosts"]
        table = run_table.run_table(_of_batch(results, batch, active), check=check)
        lines = run_table.lines_of(table, check=check)
        show("\n".join(["", *lines]))
        return {
            "changed": False,
            "rows": table.rows,
            "others": table.others,
            "left_out": table.left_out,
            "hosts": table.hosts,
            "not_asked": table.later,
        }


def _of_batch(
    results: Mapping[str, Mapping[str, Any]], batch: Collection[str], active: Collection[str]
) -> dict[str, Mapping[str, Any]]:
    """Return the results of a batch (serial), and of all hosts that failed or were not asked; others were printed."""
    return {
        host: registered
        for host, registered in results.items()
        if host in batch or host not in active or not (registered.get(steps.OBSERVED) or {}).get("fleet")
    }
