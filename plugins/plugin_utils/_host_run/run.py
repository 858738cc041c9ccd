# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One run of qemu_vms on one host: what is wanted and what changes, without machines whose disks failed. No I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._plan.changes import baseline_of, decide
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.plan import Plan
from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run import host_plans
from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run.managed_disks import DiskResults


class Run:
    """Plans and what was observed go in; what is to be done, and said, comes out."""

    def __init__(
        self, host: str, plans: Sequence[Plan], observed: Mapping[str, Any], *, encrypted: bool, only: str
    ) -> None:
        """encrypted: whether the host encrypts credentials; only: the module's option."""
        self.host = host
        self.encrypted = encrypted
        self.plans = list(plans)
        """Of the machines that have not failed."""
        self.explained: dict[str, list[str]] = {}
        """What is to be said of the machines that have, by their names."""
        self._all = plans
        self._observed = observed
        self._only = only
        self._decide()

    def _decide(self) -> None:
        wanted = host_plans.desired(self.plans, encrypted=self.encrypted)
        self.wanted = host_plans.only_helpers(wanted) if self._only == "ssh_agents" else wanted
        self.wanted["baseline"] = baseline_of(self.wanted, self._observed)
        self.changes = decide(self.wanted, self._observed)

    def leave_alone(self, failures: Mapping[str, Sequence[str]]) -> None:
        """Machines that are not touched because their disks failed, with the reasons."""
        if failures:
            self.explained.update({name: [f"{self.host}: {line}" for line in failures[name]] for name in failures})
            self.plans = [plan for plan in self.plans if plan.machine.name not in failures]
            self._decide()

    def explain(self, failures: Mapping[str, Sequence[str]]) -> None:
        """Machines that did not start, with the last lines of their logs."""
        for plan in self.plans:
            name = plan.machine.name
            if name in failures:
                self.explained[name] = host_plans.explain_failure(plan, failures[name], self.host)

    def predict(self, predicted: DiskResults, *, diff: bool) -> dict[str, Any]:
        """The result of the task, should it end before anything is changed."""
        self.leave_alone(predicted.failures)
        due = predicted.due()
        result: dict[str, Any] = {
            "changed": self.changes.any() or bool(due.results),
            "actions": [*due.actions, *self.changes.actions()],
            "vms": host_plans.summary(self._all),
            "disks": list(predicted.rows.values()),
            "restart_needed": self.changes.restart_needed,
        }
        if diff:
            result["diff"] = [*due.diff, *host_plans.diffs(self.changes, self.wanted, self._observed)]
        return result

    def failure(self) -> dict[str, Any]:
        """What the result of a task says where machines failed."""
        lines = [line for name in sorted(self.explained) for line in self.explained[name]]
        return {"failed": True, "failures": sorted(self.explained), "msg": "\n".join(lines)}

    def warnings(self) -> list[str]:
        """What people should know although nothing failed."""
        said = [f"{self.host}: {warning}" for plan in self._all for warning in plan.warnings]
        if self.changes.restart_needed:
            said.append(
                f"{self.host}: {', '.join(self.changes.restart_needed)}: changed, and runs on as before until it is "
                "restarted (restart: when_needed lets this playbook do it)"
            )
        return said
