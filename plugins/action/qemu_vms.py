# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's part of qemu_vms: read, ask the host, plan, decide; only then have the host changed."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.directdisk.qemu.plugins.module_utils._capabilities import Capabilities
from ansible_collections.directdisk.qemu.plugins.module_utils._changes import decide
from ansible_collections.directdisk.qemu.plugins.module_utils._choice import missing, requirements
from ansible_collections.directdisk.qemu.plugins.module_utils._declaration import read_machines
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError, DirectDiskError
from ansible_collections.directdisk.qemu.plugins.plugin_utils import _fleet

display = Display()


class _HostFailed(Exception):
    """The host's part failed; its answer is the result of the task as it is."""

    def __init__(self, answer: dict[str, Any]) -> None:
        super().__init__()
        self.answer = answer


class ActionModule(ActionBase):
    """One host's machines: one look at it where nothing has changed, one more call where something has."""

    _requires_connection = True
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        del tmp
        host = str((task_vars or {}).get("inventory_hostname", ""))
        try:
            return self._apply_declaration(host, task_vars or {})
        except _HostFailed as failure:
            return failure.answer
        except DirectDiskError as error:
            return {"failed": True, "msg": _with_host(error, host)}

    def _apply_declaration(self, host: str, task_vars: Mapping[str, Any]) -> dict[str, Any]:
        # Not validate_argument_spec(): it copies every machine twice, and read_machines() checks more than it could.
        when_lacking = self._task.args.get("when_lacking", "fail")
        only = self._task.args.get("only", "all")
        if "vms" not in self._task.args or set(self._task.args) - {"vms", "when_lacking", "only"}:
            raise DeclarationError("qemu_vms", "takes the options vms, when_lacking and only, and no other")
        for option, value, choices in (
            ("when_lacking", when_lacking, ("fail", "report")),
            ("only", only, ("all", "ssh_agents")),
        ):
            if value not in choices:
                raise DeclarationError(f"qemu_vms: {option}", f"{value!r} is not one of {', '.join(choices)}")
        machines = read_machines(self._task.args["vms"], host)
        show_diff = bool(self._task.diff)
        # Whether the host encrypts is known only after the look at it, so the texts go under both paths.
        secrets = _fleet.secrets_of(machines)
        texts = {**_fleet.at_rest(secrets, encrypted=True), **_fleet.at_rest(secrets, encrypted=False)}
        look = self._ask({"observe": _fleet.observation(machines, texts=show_diff)}, texts, task_vars)
        capabilities, observed = Capabilities.from_probe(look["capabilities"]), look["observed"]
        lacks, packages = missing(requirements(machines), capabilities)
        if lacks and when_lacking == "report":
            return {"changed": False, "missing": lacks, "missing_packages": packages}
        plans = _fleet.make_plans(machines, capabilities, observed["paths"])
        undeclared = _fleet.undeclared(observed, plans)
        _fleet.refuse_taken_storage(machines, observed, undeclared)
        wanted = _fleet.desired(plans, encrypted=capabilities.encrypts)
        if only == "ssh_agents":
            wanted = _fleet.only_helpers(wanted)
        changes = decide(wanted, observed)
        for warning in (warning for plan in plans for warning in plan.warnings):
            display.warning(f"{host}: {warning}")
        result: dict[str, Any] = {
            "changed": changes.any(),
            "actions": changes.actions(),
            "vms": _fleet.summary(plans),
            "restart_needed": changes.restart_needed,
            "undeclared": undeclared,
            "missing": lacks,
            "missing_packages": packages,
        }
        if show_diff:
            result["diff"] = _fleet.diffs(changes, wanted, observed)
        if changes.restart_needed:
            display.warning(
                f"{host}: {', '.join(changes.restart_needed)}: changed, and runs on as before until it is restarted "
                "(restart: when_needed lets this playbook do it)"
            )
        if not changes.any() or self._task.check_mode:
            return result
        texts = _fleet.at_rest(secrets, encrypted=capabilities.encrypts)
        done = self._ask({"desired": wanted, "encrypted": capabilities.encrypts}, texts, task_vars)
        result["actions"] = done["actions"]
        failures = done["failures"]
        if failures:
            explained = [
                line
                for plan in plans
                if plan.machine.name in failures
                for line in _fleet.explain_failure(plan, failures[plan.machine.name], host)
            ]
            del result["vms"]
            result.update(failed=True, failures=sorted(failures), msg="\n".join(explained))
        return result

    def _ask(self, request: dict[str, Any], secrets: Mapping[str, str], task_vars: Mapping[str, Any]) -> dict[str, Any]:
        """Run the host's part of this module; its own failure becomes ours."""
        encoded = {path: base64.b64encode(text.encode()).decode() for path, text in secrets.items()}
        answer: dict[str, Any] = self._execute_module(
            module_name="directdisk.qemu.qemu_vms",
            module_args={"vms": request, "credentials": encoded},
            task_vars=task_vars,
        )
        if answer.get("failed"):
            raise _HostFailed(answer)
        return answer


def _with_host(error: DirectDiskError, host: str) -> str:
    lines = str(error).splitlines() or [""]
    return "\n".join(line if line.startswith(f"{host}: ") else f"{host}: {line}" for line in lines)
