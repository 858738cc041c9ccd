# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One run of qemu_vms on one host: the desired state and its changes, without VMs whose disks failed. No I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.directdisk.qemu.plugins.module_utils._plan.baseline import baseline_of
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.changes import Changes, decide
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.host_state import DesiredHost, ObservedHost
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.plan import Plan
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.storage_owners import Takeover
from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run import host_plans, opened_disks
from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run.managed_disks import DiskResults
from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run.run_options import RunOptions
from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run.vm_changes import vm_changes


class Run:
    """The changes and messages that follow from plans and an observation."""

    def __init__(
        self, host: str, plans: Sequence[Plan], observed: ObservedHost, options: RunOptions, *, encrypted: bool
    ) -> None:
        """encrypted: if the host encrypts credentials."""
        self.host = host
        self.encrypted = encrypted
        self.plans = list(plans)
        """Plans of the VMs that have not failed."""
        self.failures: dict[str, list[str]] = {}
        """Messages about the VMs that have failed, by name."""
        self.left_alone: set[str] = set()
        """Those of them that are left as they are."""
        self._all = plans
        self._observed = observed
        self._options = options
        self._takeovers: dict[str, list[Takeover]] = {}
        self.desired, self.changes = self._decide()
        self.leave_alone(self.changes.conflicts)
        self.leave_alone(opened_disks.other_images(self.plans, self.changes, observed))
        self.leave_alone(opened_disks.without_answer(self.plans, self.changes, observed))

    def _decide(self) -> tuple[DesiredHost, Changes]:
        desired = host_plans.desired_state(self.plans, encrypted=self.encrypted)
        if self._options.only == "ssh_agents":
            desired = host_plans.only_helpers(desired)
        if self._options.restart == "due":
            for vm in desired["vms"].values():
                vm["restart"] = "when_needed"
        desired["restarts"] = {"serial": self._options.restart_serial, "force": self._options.restart_force}
        if self._takeovers:
            desired["takeovers"] = self._takeovers
        desired["baseline"] = baseline_of(desired, self._observed)
        return desired, decide(desired, self._observed)

    def take_over(self, takeovers: dict[str, list[Takeover]]) -> None:
        """Take the storage of VMs from other clients before they start."""
        self._takeovers = takeovers
        self.desired, self.changes = self._decide()

    def leave_alone(self, failures: Mapping[str, Sequence[str]]) -> None:
        """Leave VMs as they are because of their disks; failures: the reasons by VM."""
        if failures:
            self.record(failures)
            self.left_alone.update(failures)
            self.plans = [plan for plan in self.plans if plan.vm.name not in failures]
            self.desired, self.changes = self._decide()

    def record(self, failures: Mapping[str, Sequence[str]]) -> None:
        """Record failures of VMs on which the run goes on acting; failures: the reasons by VM."""
        self.failures.update({name: [f"{self.host}: {line}" for line in failures[name]] for name in failures})

    def add_failures(self, failures: Mapping[str, Sequence[str]]) -> None:
        """Record VMs that did not start; failures: the last lines of their logs."""
        for plan in self.plans:
            name = plan.vm.name
            if name in failures:
                self.failures[name] = host_plans.explain_failure(plan, failures[name], self.host)

    def predict(self, predicted: DiskResults, *, diff: bool) -> dict[str, Any]:
        """Return the result of the task if nothing but these changes follows; predicted: the results for its disks."""
        self.leave_alone(predicted.failures)
        due = predicted.due()
        result: dict[str, Any] = {
            "changed": self.changes.any() or bool(due.results),
            "actions": [*due.actions, *self.changes.actions()],
            "vms": host_plans.summary(self._all),
            "disks": list(predicted.rows.values()),
            "restart_required": self.changes.restart_required,
            "changes": vm_changes(self.changes, due),
        }
        if diff:
            required = [
                {"prepared": f"restart of vm {name} required: {'; '.join(reasons)}\n"}
                for name, reasons in self.changes.restart_required.items()
            ]
            result["diff"] = [*due.diff, *host_plans.diffs(self.changes, self.desired, self._observed), *required]
        return result

    def done(self, predicted: Mapping[str, list[str]], disks: DiskResults) -> dict[str, list[str]]:
        """Return what was done or tried of the predicted changes, by VM; disks: the results of those that were due."""
        changed = [one for one in disks.results if one[0].vm in self.left_alone and one[1]["changed"]]
        tried = {vm: words for vm, words in predicted.items() if vm not in self.left_alone}
        return {**vm_changes(Changes(), DiskResults(changed)), **tried}

    def failure(self) -> dict[str, Any]:
        """Return the members of the result of a task in which VMs failed."""
        lines = [line for name in sorted(self.failures) for line in self.failures[name]]
        return {"failed": True, "failures": sorted(self.failures), "msg": "\n".join(lines)}

    def warnings(self) -> list[str]:
        """Return warnings about the plans, and about VMs that need a restart."""
        lines = [f"{self.host}: {warning}" for plan in self._all for warning in plan.warnings]
        lines += [f"{self.host}: {note}" for note in self.changes.notes]
        lines += opened_disks.not_read(self.plans, self.changes, self._observed, self.host)
        if self.changes.restart_required:
            lines.append(
                f"{self.host}: {', '.join(self.changes.restart_required)}: changed, but the running VM keeps its old "
                "settings until it is restarted (set restart: when_needed, or for one run -e qemu_vms_restart=due)"
            )
        return lines
