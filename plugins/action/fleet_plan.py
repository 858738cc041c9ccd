# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""fleet_plan: check the declarations of all hosts, on the controller alone. Its documentation is the module's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError, DirectDiskError
from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run.output import show
from ansible_collections.directdisk.qemu.plugins.plugin_utils._inventory import answers, conflicts, queries, tables
from ansible_collections.directdisk.qemu.plugins.plugin_utils._inventory.declared import read_fleet_in_parallel
from ansible_collections.directdisk.qemu.plugins.plugin_utils._inventory.parallel import collection_paused
from ansible_collections.directdisk.qemu.plugins.plugin_utils._inventory.registered import registered_results

display = Display()


class ActionModule(ActionBase):
    """Reads all declarations, prints their disks, and fails with every error in them."""

    _requires_connection = False
    _supports_check_mode = True

    @collection_paused()
    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        del tmp
        arguments, variables = self._task.args, task_vars or {}
        try:
            hosts = _hosts(arguments["hosts"])
            known_images = _known_images(arguments.get("known_images") or ())
            fleet = read_fleet_in_parallel(variables["hostvars"], hosts)
            rows = fleet.rows()
            if arguments.get("query"):
                show(tables.answer(queries.ask(str(arguments["query"]), rows)))
            else:
                show(f"{tables.disks(rows)}\n{tables.summary(fleet, rows)}")
        except DirectDiskError as error:
            return {"failed": True, "msg": str(error)}
        asked = _answers(variables["hostvars"], str(arguments.get("answers") or ""), fleet.hosts)
        known = conflicts.warnings(fleet, known_images)
        for warning in (*map(str, known), *answers.warnings(fleet, asked)):
            display.warning(warning)
        found = [*fleet.errors, *fleet.secrets, *conflicts.errors(fleet), *answers.errors(fleet, asked)]
        errors = fleet.in_order(found)
        counts = {"hosts": len(fleet.hosts), "vms": len(fleet.vms), "disks": len(rows)}
        result = {"changed": False, **counts, "rows": rows, "errors": [str(error) for error in errors]}
        if errors:
            # As a message, Ansible would print them in one line, and some releases twice.
            show("\nERRORS\n------\n" + "".join(f"{error}\n" for error in errors))
        if errors and boolean(arguments.get("strict", True)):
            result.update(failed=True, msg=f"errors in the declarations, listed above: {len(errors)}")
        return result


def _hosts(names: Sequence[str]) -> Sequence[str]:
    """Refuse no hosts: nothing would be checked, and nothing found wrong."""
    if not names:
        raise DeclarationError("hosts (qemu_vms_hosts)", "no host of the inventory matches")
    return names


def _known_images(value: Any) -> list[str]:
    if not isinstance(value, (list, tuple)):
        raise DeclarationError("known_images (plan_known_images)", "is not a list of patterns")
    return [str(pattern) for pattern in value]


def _answers(hostvars: Any, register: str, hosts: Sequence[str]) -> answers.Answers:
    """Return the answers of hosts to qemu_info; register: the variable in which they are registered."""
    found: dict[str, answers.HostFacts] = {}
    for host, variables in registered_results(hostvars, hosts if register else (), [register]).items():
        answer: Any = variables.get(register)
        found[host] = answer if answer else answers.HostFacts()
    return found
