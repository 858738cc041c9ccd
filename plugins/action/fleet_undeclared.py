# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""fleet_undeclared: name undeclared VMs, and VMs whose guests do not run. Its documentation is the module's."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run import last_lines, other_hosts, steps
from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run.compare import registered_results

display = Display()


class ActionModule(ActionBase):
    """Names VMs that nobody declares, whose guests do not run, that were left out, and that need a restart."""

    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        del tmp
        variables = task_vars or {}
        results = registered_results(variables["hostvars"], variables["ansible_play_hosts_all"])
        reports = steps.reports_of(results)
        named = (other_hosts.without_declaration(reports), other_hosts.halted_guests(reports))
        lines = [line for line in (*named, *last_lines.last_lines(results)) if line]
        for line in lines:
            display.warning(line)
        return {"changed": False, "msg": "\n".join(lines)}
