# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""fleet_plan: check the declarations of all hosts, on the controller alone. Its documentation is the module's."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DirectDiskError
from ansible_collections.directdisk.qemu.plugins.plugin_utils._inventory import conflicts, queries, tables
from ansible_collections.directdisk.qemu.plugins.plugin_utils._inventory.declared import read_fleet_in_parallel

display = Display()


class ActionModule(ActionBase):
    """Reads all declarations, prints their disks, and fails with every error in them."""

    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        del tmp
        arguments, variables = self._task.args, task_vars or {}
        # Not an argument: in a template, query is a function of Ansible's own.
        query = variables.get("query")
        try:
            fleet = read_fleet_in_parallel(variables["hostvars"], arguments["hosts"])
            rows = fleet.rows()
            if query:
                display.display(tables.answer(queries.ask(str(query), rows)))
            else:
                display.display(f"{tables.disks(rows)}\n{tables.summary(fleet, rows)}")
        except DirectDiskError as error:
            return {"failed": True, "msg": str(error)}
        for warning in conflicts.warnings(fleet, arguments.get("known_images", ())):
            display.warning(str(warning))
        errors = fleet.in_order([*fleet.errors, *fleet.secrets, *conflicts.errors(fleet)])
        counts = {"hosts": len(fleet.hosts), "vms": len(fleet.vms), "disks": len(rows)}
        if not errors or not boolean(arguments.get("strict", True)):
            return {"changed": False, **counts, "rows": rows, "errors": [str(error) for error in errors]}
        # As a message, Ansible would print them in one line, and some releases twice.
        display.display("\nERRORS\n------\n" + "".join(f"{error}\n" for error in errors))
        return {"failed": True, "msg": f"errors in the declarations, listed above: {len(errors)}", **counts}
