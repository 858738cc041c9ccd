# SPDX-FileCopyrightText: directdisk.qemu contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's part of qemu_vms: read, ask the host, plan, decide; only then have the host changed."""

from __future__ import annotations

import base64
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible.utils.display import Display

from ansible_collections.directdisk.qemu.plugins.module_utils._declaration.vm import Machine, read_machines
from ansible_collections.directdisk.qemu.plugins.module_utils._errors import DeclarationError
from ansible_collections.directdisk.qemu.plugins.module_utils._images.batch import read_entries
from ansible_collections.directdisk.qemu.plugins.module_utils._options.read import raise_collected
from ansible_collections.directdisk.qemu.plugins.module_utils._plan import overlays
from ansible_collections.directdisk.qemu.plugins.module_utils._plan.changes import Changes
from ansible_collections.directdisk.qemu.plugins.module_utils._routes.capabilities import Capabilities
from ansible_collections.directdisk.qemu.plugins.module_utils._routes.selection import missing, requirements
from ansible_collections.directdisk.qemu.plugins.module_utils._units import paths
from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run import host_plans, steps
from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run.action import HostAction, HostFailed, plain
from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run.compare import compare, registered_results
from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run.in_use import storage_not_asked
from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run.managed_disks import (
    DiskResults,
    ManagedDisk,
    managed_disks,
    request,
)
from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run.other_hosts import (
    HostReport,
    decide,
    host_report,
    predicted_changes,
)
from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run.run import Run
from ansible_collections.directdisk.qemu.plugins.plugin_utils._host_run.running_vms import refuse_unmanaged_storage

display = Display()

_CHOICES = {"when_lacking": ("fail", "report"), "only": ("all", "ssh_agents"), "step": steps.STEPS}
"""What the options beside vms may be; each is the first unless said."""


@dataclass(frozen=True)
class _HostAnswers:
    """What a host answered: its capabilities and what was observed, and what is due for its disks."""

    look: Mapping[str, Any]
    disks: Mapping[str, Any] | None
    """The answer of qemu_disks; None where no disk is made or kept."""


class ActionModule(HostAction):
    """One host's machines: one look at it where nothing has changed, one more call where something has.

    Where disks are made and kept, one look at all of them, and one more call where some of them change. With ``step``
    it is one part of that, so that all hosts can end one part before the next.
    """

    def run_task(self, host: str, task_vars: Mapping[str, Any]) -> dict[str, Any]:
        options = self._read_options()
        if options["step"] == "compare":
            return self._compare(task_vars)
        if options["step"] == "stop":
            return self._stop(host, task_vars)
        if options["step"] == "apply":
            return self._apply_observed(host, options, task_vars)
        return self._observe(host, options, task_vars)

    def _observe(self, host: str, options: Mapping[str, str], task_vars: Mapping[str, Any]) -> dict[str, Any]:
        """Read, ask the host, and plan; then also apply, unless that is another step."""
        machines = read_machines(self._task.args["vms"], host)
        kept = managed_disks(machines, plain(self._task.args["vms"])) if options["only"] == "all" else []
        read_entries({disk.name: disk.declared for disk in kept})
        look = self._observe_host(machines, task_vars)
        capabilities, observed = Capabilities.from_probe(look["capabilities"]), look["observed"]
        lacks, packages = missing(requirements(machines), capabilities)
        lacking = {"missing": lacks, "missing_packages": packages}
        undeclared = host_plans.undeclared(observed, machines)
        if options["only"] == "all":
            refuse_unmanaged_storage(machines, observed)
        if lacks and options["when_lacking"] == "report":
            report = self._report(machines, observed, undeclared, predicted_changes(machines, observed))
            unpredictable = self._unpredictable(host, lacks)
            return {"changed": False, **lacking, **unpredictable, **_for_other_steps(options, report, due=False)}
        plans = host_plans.make_plans(machines, capabilities, observed["paths"])
        host_plans.refuse_taken_storage(machines, observed, undeclared)
        overlays.refuse_left_behind(machines, observed["overlays"])
        entries = request(kept, plans, observed)
        answer = self._reconcile_disks(kept, entries, task_vars, predict=True)
        predicted = DiskResults.of(kept, answer) if answer else DiskResults()
        predicted.refuse()
        run = Run(host, plans, observed, encrypted=capabilities.encrypts, only=options["only"])
        result = {**run.predict(predicted, diff=bool(self._task.diff)), "undeclared": undeclared, **lacking}
        written = {paths.vm_of_unit(path.rpartition("/")[2]) for path in run.changes.write_files}
        left = (f"{host}: {line}" for line in overlays.warnings(machines, observed["overlays"], written))
        unasked = storage_not_asked(machines, observed, host)
        for warning in (*run.warnings(), *left, *host_plans.doubtful_storage(machines, observed, host), *unasked):
            display.warning(warning)
        report = self._report(machines, observed, undeclared, run.changes)
        if options["step"] == "observe":
            return self._observed(run, result, report, _HostAnswers(look, answer))
        raise_collected(decide({host: report}).errors)
        return self._finish(run, predicted, result, entries, task_vars)

    @staticmethod
    def _report(
        machines: Sequence[Machine], observed: Mapping[str, Any], undeclared: list[str], changes: Changes
    ) -> HostReport:
        return host_report(uuid.uuid4().hex, machines, observed, undeclared, changes)

    @staticmethod
    def _observed(run: Run, result: dict[str, Any], report: HostReport, seen: _HostAnswers) -> dict[str, Any]:
        """The result of step observe; where something is due, all that step apply needs is in it."""
        due = bool(result["changed"])
        result = {**result, "changed": False, **_for_other_steps({"step": "observe"}, report, due=due)}
        if due:
            for key in ("vms", "disks", "actions", "diff"):
                result.pop(key, None)
            result["observed"] = steps.pack({"look": seen.look, "disks": seen.disks})
        elif run.explained:
            del result["vms"]
            result.update(run.failure())
        return result

    def _apply_observed(self, host: str, options: Mapping[str, str], task_vars: Mapping[str, Any]) -> dict[str, Any]:
        """Plan once more with what step observe has seen, and apply."""
        observation = task_vars[steps.OBSERVED]
        seen = _HostAnswers(**steps.unpack(observation["observed"]))
        stopped = task_vars.get(steps.STOPPED_FIRST) or {}
        report_id = observation["fleet"]["id"]
        names = stopped.get("stopped") or () if stopped.get("of") == report_id else ()
        observed = steps.with_stopped(seen.look["observed"], names)
        machines = read_machines(self._task.args["vms"], host)
        kept = managed_disks(machines, plain(self._task.args["vms"]))
        capabilities = Capabilities.from_probe(seen.look["capabilities"])
        plans = host_plans.make_plans(machines, capabilities, observed["paths"])
        run = Run(host, plans, observed, encrypted=capabilities.encrypts, only=options["only"])
        predicted = DiskResults.of(kept, seen.disks) if seen.disks else DiskResults()
        not_yet = self._waiting_for_stops(host, task_vars)
        run.leave_alone(not_yet)
        predicted = predicted.without(not_yet)
        result = run.predict(predicted, diff=bool(self._task.diff))
        result.update(undeclared=observation["undeclared"], of=report_id)
        return self._finish(run, predicted, result, request(kept, plans, observed), task_vars)

    def _finish(
        self,
        run: Run,
        predicted: DiskResults,
        result: dict[str, Any],
        entries: Mapping[str, Any],
        task_vars: Mapping[str, Any],
    ) -> dict[str, Any]:
        if result["changed"] and not self._task.check_mode:
            result.update(self._apply(run, predicted, entries, task_vars))
        if run.explained:
            del result["vms"]
            result.update(run.failure())
        return result

    def _unpredictable(self, host: str, lacks: Sequence[str]) -> dict[str, Any]:
        """In check mode nothing is installed, so that what comes after the installation stays unknown: say so."""
        if not self._task.check_mode:
            return {}
        line = (
            f"{host}: cannot be predicted beyond the installation of what this host lacks ({'; '.join(lacks)}); "
            "disks and VMs may change after it"
        )
        display.warning(line)
        return {"diff": [{"prepared": f"{line}\n"}]} if self._task.diff else {}

    def _compare(self, task_vars: Mapping[str, Any]) -> dict[str, Any]:
        """Decide for all hosts of the play, from what each of them has answered; nothing has changed anywhere yet."""
        comparison = compare(task_vars["hostvars"], task_vars["ansible_play_hosts"])
        for warning in comparison.warnings:
            display.warning(warning)
        result: dict[str, Any] = {"changed": False, "stops": comparison.stops, "waits": comparison.waits}
        if comparison.errors:
            result.update(failed=True, msg="\n".join(map(str, comparison.errors)))
        return result

    def _stop(self, host: str, task_vars: Mapping[str, Any]) -> dict[str, Any]:
        """Stop the VMs of this host that start on another one in the same run."""
        names = task_vars[steps.COMPARED]["stops"].get(host, [])
        actions = [f"stop vm {name}" for name in names]
        result = {"changed": bool(names), "of": task_vars[steps.OBSERVED]["fleet"]["id"], "actions": actions}
        if self._task.diff:
            result["diff"] = [{"prepared": "".join(f"{action}\n" for action in actions)}]
        if self._task.check_mode or not names:
            return {**result, "stopped": names}
        stopped = self._ask_host({"stop": names}, {}, task_vars)["stopped"]
        result["stopped"] = stopped
        running = sorted(set(names) - set(stopped))
        if running:
            lines = (f"{host}: vm {name}: does not stop; it is not started on another host" for name in running)
            result.update(failed=True, msg="\n".join(lines))
        return result

    def _waiting_for_stops(self, host: str, task_vars: Mapping[str, Any]) -> dict[str, list[str]]:
        """Of the VMs that start here, those that depend on a stop elsewhere that has not happened, with the reasons."""
        waits = task_vars[steps.COMPARED]["waits"].get(host, {})
        results = registered_results(task_vars["hostvars"], {other for others in waits.values() for other in others})
        refused: dict[str, list[str]] = {}
        for name, stops in waits.items():
            lines = [
                f"vm {name}: is not started: {other} has not stopped {vm}; its own result says why"
                for other, vms in stops.items()
                for vm in vms
                if not steps.is_stopped(vm, results.get(other) or {})
            ]
            if lines:
                refused[name] = lines
        return refused

    def _read_options(self) -> dict[str, str]:
        # Not validate_argument_spec(): it copies every machine twice, and read_machines() checks more than it could.
        if "vms" not in self._task.args or set(self._task.args) - {"vms", *_CHOICES}:
            raise DeclarationError("qemu_vms", f"takes the options vms, {', '.join(_CHOICES)}, and no other")
        options = {name: self._task.args.get(name, choices[0]) for name, choices in _CHOICES.items()}
        for name, value in options.items():
            if value not in _CHOICES[name]:
                raise DeclarationError(f"qemu_vms: {name}", f"{value!r} is not one of {', '.join(_CHOICES[name])}")
        return options

    def _observe_host(self, machines: Sequence[Machine], task_vars: Mapping[str, Any]) -> dict[str, Any]:
        # Whether the host encrypts is known only after the look at it, so the texts go under both paths.
        secrets = host_plans.secrets_of(machines)
        texts = {**host_plans.at_rest(secrets, encrypted=True), **host_plans.at_rest(secrets, encrypted=False)}
        return self._ask_host(
            {"observe": host_plans.observation(machines, texts=bool(self._task.diff))}, texts, task_vars
        )

    def _apply(
        self, run: Run, predicted: DiskResults, entries: Mapping[str, Any], task_vars: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Have disks and machines changed; what is to be said of it."""
        due = [disk for disk, _result in predicted.due().results]
        answer = self._reconcile_disks(due, entries, task_vars, predict=False)
        done = DiskResults.of(due, answer) if answer else DiskResults()
        run.leave_alone(done.failures)
        actions = done.actions
        if run.changes.any():
            secrets = host_plans.secrets_of(plan.machine for plan in run.plans)
            texts = host_plans.at_rest(secrets, encrypted=run.encrypted)
            answer = self._ask_host({"desired": run.wanted, "encrypted": run.encrypted}, texts, task_vars)
            actions += answer["actions"]
            run.explain(answer["failures"])
        return {"actions": actions, "disks": list({**predicted.rows, **done.rows}.values())}

    def _reconcile_disks(
        self, kept: Sequence[ManagedDisk], entries: Mapping[str, Any], task_vars: Mapping[str, Any], *, predict: bool
    ) -> dict[str, Any] | None:
        """Have disks made and kept, all of them in one call; the answer, and None where there is none of them."""
        host = task_vars.get("inventory_hostname", "")
        if not kept:
            return None
        names = [disk.name for disk in kept]
        answer = self.reconcile_disks({name: entries[name] for name in names}, names, task_vars, predict=predict)
        if "disks" not in answer:
            raise HostFailed(answer)
        for warning in answer.get("warnings") or ():
            display.warning(f"{host}: {warning}")  # which says each once
        return answer

    def _ask_host(
        self, wanted: dict[str, Any], secrets: Mapping[str, str], task_vars: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Run the host's part of this module; its own failure becomes ours."""
        encoded = {path: base64.b64encode(text.encode()).decode() for path, text in secrets.items()}
        answer = self.ask("qemu_vms", {"vms": wanted, "credentials": encoded}, task_vars)
        if answer.get("failed"):
            raise HostFailed(answer)
        return answer


def _for_other_steps(options: Mapping[str, str], report: HostReport, *, due: bool) -> dict[str, Any]:
    """What the result of step observe has more than that of a run in one step."""
    return {"fleet": report, "due": due} if options["step"] == "observe" else {}
